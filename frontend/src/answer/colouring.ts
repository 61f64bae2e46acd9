// The colours of a long fence, a piece at a time: a grammar takes 100 ms and more for the whole of it.

export interface Run {
  text: string;
  colour: string;
}

export type Highlight = (language: string, code: string) => Run[] | null;

// What begins in one piece may end in another (a comment, a docstring), so the last run of a piece waits for the next; not for ever.
const CARRIED = 12_000;
// Longer pieces are minified lines or data, whose colours nobody reads.
const READABLE = 20_000;

export class Colouring {
  /** The runs of the chunks that are done; null for one that stays plain. */
  readonly done: (readonly Run[] | null)[] = [];
  private readonly language: string;
  private readonly highlight: Highlight;
  private carry = '';
  private pending: Run[] = [];
  /** How many chunks have been looked at. */
  taken = 0;
  private readonly ends: number[] = [];
  private coloured = 0;
  private total = 0;
  private hopeless = false;

  constructor(language: string, highlight: Highlight) {
    this.language = language;
    this.highlight = highlight;
  }

  /** Whether there is something to colour in the first `settled` chunks. */
  behind(settled: number): boolean {
    return !this.hopeless && this.taken < settled;
  }

  /** Colours one more chunk; `last` says that no other follows it. */
  step(chunks: readonly string[], last: boolean): void {
    const chunk = chunks[this.taken] ?? '';
    this.taken += 1;
    this.total += chunk.length;
    this.ends.push(this.total);
    const code = this.carry + chunk;
    const runs =
      code.length > READABLE + CARRIED ? [{ text: code, colour: 'plain' }] : this.highlight(this.language, code);
    if (runs === null) {
      this.hopeless = true;
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
