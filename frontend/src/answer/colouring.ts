// Colours the code of a fence chunk by chunk: a grammar takes 100 ms and more for all of a long fence.

export interface Run {
  text: string;
  colour: string;
}

export type Highlight = (language: string, code: string) => Run[] | null;

// A comment or a docstring may begin in one chunk and end in another. So the last run of a chunk is coloured again with
// the next chunk, up to this many characters.
const CARRIED = 12_000;
// A longer chunk is minified code or data, which nobody reads: it stays plain.
const READABLE = 20_000;

export class Colouring {
  /** The coloured runs of each chunk that is done; null for a chunk that stays plain. */
  readonly done: (readonly Run[] | null)[] = [];
  private readonly language: string;
  private readonly highlight: Highlight;
  private carry = '';
  private pending: Run[] = [];
  /** How many chunks have been processed. */
  taken = 0;
  private readonly ends: number[] = [];
  private coloured = 0;
  private total = 0;
  private failed = false;

  constructor(language: string, highlight: Highlight) {
    this.language = language;
    this.highlight = highlight;
  }

  /** Whether any of the first `complete` chunks is not coloured yet. */
  behind(complete: number): boolean {
    return !this.failed && this.taken < complete;
  }

  /** Colours the next chunk. `last` is true if no other follows it. */
  step(chunks: readonly string[], last: boolean): void {
    const chunk = chunks[this.taken] ?? '';
    this.taken += 1;
    this.total += chunk.length;
    this.ends.push(this.total);
    const code = this.carry + chunk;
    const runs =
      code.length > READABLE + CARRIED ? [{ text: code, colour: 'plain' }] : this.highlight(this.language, code);
    if (runs === null) {
      this.failed = true;
      return;
    }
    const open = runs.at(-1);
    const carried = !last && open !== undefined && open.colour !== 'plain' && open.text.length < CARRIED;
    this.carry = carried ? open.text : '';
    this.take(carried ? runs.slice(0, -1) : runs);
  }

  private take(runs: readonly Run[]): void {
    for (const run of runs) {
      let { text } = run;
      while (text !== '') {
        const room = (this.ends[this.done.length] ?? Infinity) - this.coloured;
        const part = text.slice(0, room);
        this.pending.push({ text: part, colour: run.colour });
        this.coloured += part.length;
        text = text.slice(part.length);
        if (part.length < room) continue;
        this.done.push(this.pending);
        this.pending = [];
      }
    }
  }
}
