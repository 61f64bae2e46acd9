/** What drawing answers has cost since the page was opened. Tests hold that it grows with the text, and not faster. */
export const measure = {
  /** Characters that the parser was given. */
  characters: 0,
  /** Parts of a tree that were compared with what is shown. */
  comparisons: 0,
};
