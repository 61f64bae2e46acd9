// Long text in pieces of a few lines. One text node of 200 KB is laid out as a whole at every letter that is added to it, and
// a paragraph without any markup could not be settled anywhere.

const SHORTEST = 256;
const LONGEST = 512;

// Where a piece may end: behind a space, or behind the stops and commas of scripts that have no spaces.
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

/** Where a piece ends depends on what stands before that only, so growth never moves an end. */
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

function isLow(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
