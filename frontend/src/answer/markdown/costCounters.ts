/** The work done for all answers since the page was opened. Tests check that it grows linearly with the text. */
export const costs = {
  /** Characters given to the parser. */
  characters: 0,
  /** Tree nodes compared with the shown ones. */
  comparisons: 0,
};
