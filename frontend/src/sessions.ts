// The list of the reader's own conversations. A convenience: that it fails must not disturb the one that is open.

import { markSeen, unread } from './storage/seen';
import { type Listed, Refusal, mine, remove, rename } from './transport/api';

const GATHER_MS = 200;
// Somewhere else something may begin or end at any time; where something runs, its end is near.
const QUIET_MS = 30_000;
const RUNNING_MS = 3_000;

export class Sessions {
  listed: readonly Listed[] = [];
  unread: ReadonlySet<string> = new Set();
  failure: Refusal | null = null;
  isLoaded = false;
  readonly #changed: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #newest = 0;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Several reasons to look come together, at the end of a turn for one. */
  refresh(): void {
    this.#lookIn(GATHER_MS);
  }

  /** What this reader has before their eyes is not news. */
  seen(session: string, state: Listed['state'], turn: number): void {
    markSeen(session, state, turn);
    if (!this.unread.has(session)) return;
    this.unread = unread(this.listed);
    this.#changed();
  }

  async rename(session: string, title: string): Promise<void> {
    await rename(session, title);
    this.#set(this.listed.map((one) => (one.session_id === session ? { ...one, title } : one)));
  }

  async remove(session: string): Promise<void> {
    try {
      await remove(session);
    } catch (error) {
      // Gone is what was wished for.
      if (!(error instanceof Refusal && error.status === 404)) throw error;
    }
    this.#set(this.listed.filter((one) => one.session_id !== session));
  }

  #set(listed: readonly Listed[]): void {
    // A list that was asked for before this may show what was.
    this.#newest += 1;
    this.listed = listed;
    this.#changed();
    this.refresh();
  }

  #lookIn(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#load(), milliseconds);
  }

  async #load(): Promise<void> {
    this.#newest += 1;
    const round = this.#newest;
    try {
      const listed = await mine();
      if (round !== this.#newest) return;
      this.listed = listed;
      this.unread = unread(listed);
      this.failure = null;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (round !== this.#newest) return;
      this.failure = error;
    }
    this.isLoaded = true;
    this.#changed();
    this.#lookAgain();
  }

  /** A tab that nobody sees asks nothing; it looks when it is seen again. */
  #lookAgain(): void {
    if (document.visibilityState !== 'visible') return;
    const isRunning = this.listed.some(({ state }) => state !== 'idle');
    this.#lookIn(isRunning ? RUNNING_MS : QUIET_MS);
  }
}
