// Closes the marks that are still open at the end of a growing text: `**bo` is shown bold, and not with two asterisks.

import remend from 'remend';

// A longer tail is no prose, and a scan of it at every paint would be too slow.
const LONGEST = 8_000;

export function closeMarks(tail: string): string {
  if (tail.length > LONGEST || opensMath(tail)) return tail;
  // Off is what would change finished text (`~`, `>`), hide some of it (tags), or take money for math.
  return remend(tail, {
    linkMode: 'text-only',
    htmlTags: false,
    katex: false,
    inlineKatex: false,
    comparisonOperators: false,
    singleTilde: false,
  });
}

/** Whether `tail` ends within a formula: there, asterisks and underscores are no marks. */
function opensMath(tail: string): boolean {
  const last = tail.lastIndexOf('\n\n');
  const paragraph = last < 0 ? tail : tail.slice(last);
  return (
    paragraph.lastIndexOf('\\(') > paragraph.lastIndexOf('\\)') ||
    paragraph.lastIndexOf('\\[') > paragraph.lastIndexOf('\\]')
  );
}
