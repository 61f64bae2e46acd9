// A window in which the end of a grapheme is looked for: longer ones exist, but only to break pages.
const WINDOW = 128;

const segmenter =
  typeof Intl.Segmenter === 'function' ? new Intl.Segmenter(undefined, { granularity: 'grapheme' }) : null;

function isHigh(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}

/**
 * The first place at or behind `goal` where `text` may be cut without cutting what a reader takes for one sign. `from` is
 * such a place before it.
 */
export function cutAt(text: string, from: number, goal: number): number {
  if (goal >= text.length) return text.length;
  if (goal <= from) return from;
  // What precedes decides (flags are pairs of letters), but not from far away.
  const start = Math.max(from, goal - WINDOW);
  const part = text.slice(start, goal + WINDOW);
  const around = segmenter?.segment(part).containing(goal - start);
  if (around === undefined) return isHigh(text.charCodeAt(goal - 1)) ? goal + 1 : goal;
  if (around.index === goal - start) return goal;
  return Math.min(start + around.index + around.segment.length, text.length);
}

/** `text` without the first half of a pair that its second half has not reached yet. */
export function withoutHalf(text: string): string {
  return isHigh(text.charCodeAt(text.length - 1)) ? text.slice(0, -1) : text;
}
