// Code in pieces: what is shown of a long fence grows by its last piece, and the others are never touched.

const LINES = 40;

/** Whole lines, forty a piece. Which piece a line is in depends on what stands before it only, so growth never moves one. */
export function chunksOf(code: string): string[] {
  const chunks: string[] = [];
  let from = 0;
  let lines = 0;
  for (let at = code.indexOf('\n'); at >= 0; at = code.indexOf('\n', at + 1)) {
    lines += 1;
    if (lines < LINES) continue;
    chunks.push(code.slice(from, at + 1));
    from = at + 1;
    lines = 0;
  }
  if (from < code.length) chunks.push(code.slice(from));
  return chunks;
}

/** The same, fed line by line. */
export class GrowingChunks {
  private readonly full: string[] = [];
  private last = '';
  private lines = 0;

  /** `line` with its newline. */
  push(line: string): void {
    this.last += line;
    this.lines += 1;
    if (this.lines < LINES) return;
    this.full.push(this.last);
    this.last = '';
    this.lines = 0;
  }

  /** All so far, `partial` being the line that has not ended. */
  chunks(partial: string): string[] {
    const last = this.last + partial;
    return last === '' ? this.full.slice() : [...this.full, last];
  }
}
