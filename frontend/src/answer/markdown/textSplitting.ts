// Where a text may be cut: between graphemes, and into segments of a few lines.

// How far around the goal the border of a grapheme is looked for. Longer graphemes exist, but only to break pages.
const WINDOW = 128;

const segmenter =
  typeof Intl.Segmenter === 'function' ? new Intl.Segmenter(undefined, { granularity: 'grapheme' }) : null;

function isHigh(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}

function isLow(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}

/** The first border of a grapheme at or behind `goal`. `from` is such a border before it. */
export function cutAt(text: string, from: number, goal: number): number {
  if (goal >= text.length) return text.length;
  if (goal <= from) return from;
  // Earlier characters decide where a grapheme begins (a flag is a pair of letters), but only near ones.
  const start = Math.max(from, goal - WINDOW);
  const part = text.slice(start, goal + WINDOW);
  const around = segmenter?.segment(part).containing(goal - start);
  if (around === undefined) return isHigh(text.charCodeAt(goal - 1)) ? goal + 1 : goal;
  if (around.index === goal - start) return goal;
  return Math.min(start + around.index + around.segment.length, text.length);
}

/** `text` without a high surrogate at its end, whose low surrogate has not arrived. */
export function withoutHalf(text: string): string {
  return isHigh(text.charCodeAt(text.length - 1)) ? text.slice(0, -1) : text;
}

const SHORTEST = 256;
const LONGEST = 512;

// A segment may end behind a space, or behind the punctuation of scripts that have no spaces.
function mayEnd(code: number): boolean {
  return (
    code === 0x20 ||
    code === 0x3002 ||
    code === 0xff0c ||
    code === 0x3001 ||
    code === 0xff01 ||
    code === 0xff1f ||
    code === 0xff1b
  );
}

/**
 * A long text in segments, each for a text node of its own: a browser lays a text node of 200 KB out as a whole for
 * each letter that is added, and a paragraph without marks could be cut nowhere (incrementalParser.ts). The end of a
 * segment depends only on the text before it, so growth moves no end.
 */
export function segments(text: string): string[] {
  if (text.length <= SHORTEST) return [text];
  const parts: string[] = [];
  let from = 0;
  for (let at = SHORTEST; at < text.length; at += 1) {
    const length = at - from;
    if (length < SHORTEST) continue;
    if (!mayEnd(text.charCodeAt(at - 1)) && (length < LONGEST || isLow(text.charCodeAt(at)))) continue;
    parts.push(text.slice(from, at));
    from = at;
  }
  parts.push(text.slice(from));
  return parts;
}
