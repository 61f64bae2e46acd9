// Splits code into chunks of whole lines. While a long fence grows, only its last chunk is drawn again.

const LINES = 40;

/** Chunks of forty lines. The chunk of a line depends only on the lines before it, so growth moves no line. */
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

/** The same chunks of code that arrives line by line. */
export class GrowingChunks {
  private readonly full: string[] = [];
  private last = '';
  private lines = 0;

  /** Adds a line; `line` ends with its newline. */
  push(line: string): void {
    this.last += line;
    this.lines += 1;
    if (this.lines < LINES) return;
    this.full.push(this.last);
    this.last = '';
    this.lines = 0;
  }

  /** All chunks so far; `partial` is the line that has not ended. */
  chunks(partial: string): string[] {
    const last = this.last + partial;
    return last === '' ? this.full.slice() : [...this.full, last];
  }
}
