// Half-typed marks in the tail of a growing text: `**bo` is shown bold and not with two asterisks.

import remend from 'remend';

// Beyond this the tail is no prose, and looking through it at every paint would be felt.
const LONGEST = 8_000;

export function heal(tail: string): string {
  if (tail.length > LONGEST || opensMath(tail)) return tail;
  // What changes finished text (`~`, `>`), hides some (tags), or guesses at money is off.
  return remend(tail, {
    linkMode: 'text-only',
    htmlTags: false,
    katex: false,
    inlineKatex: false,
    comparisonOperators: false,
    singleTilde: false,
  });
}

/** In a formula that has begun, asterisks and underscores are its own. */
function opensMath(tail: string): boolean {
  const last = tail.lastIndexOf('\n\n');
  const paragraph = last < 0 ? tail : tail.slice(last);
  return (
    paragraph.lastIndexOf('\\(') > paragraph.lastIndexOf('\\)') ||
    paragraph.lastIndexOf('\\[') > paragraph.lastIndexOf('\\]')
  );
}
