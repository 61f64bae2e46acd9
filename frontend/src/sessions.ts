// The list of the reader's own sessions. It is a convenience: its failure must not disturb the open session.

import { markSeen, unread } from './storage/seen';
import { type Listed, Refusal, listSessions, remove, rename } from './transport/api';

const DEBOUNCE_MS = 200;
// The list is polled, since turns may begin and end in other tabs and browsers. It is polled faster while a turn runs.
const IDLE_POLL_MS = 30_000;
const RUNNING_POLL_MS = 3_000;

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

  /** Loads the list soon. Several calls come together, for example at the end of a turn, so they are debounced. */
  refresh(): void {
    this.#schedule(DEBOUNCE_MS);
  }

  /**
   * Marks a session's turns as seen. The page calls it on each change, so it reports none itself. The session stays
   * unread if the list has a newer answer than the page.
   */
  seen(session: string, state: Listed['state'], turn: number): void {
    markSeen(session, state, turn);
    if (this.unread.has(session)) this.unread = unread(this.listed);
  }

  async rename(session: string, title: string): Promise<void> {
    await rename(session, title);
    this.#set(this.listed.map((one) => (one.session_id === session ? { ...one, title } : one)));
  }

  async remove(session: string): Promise<void> {
    try {
      await remove(session);
    } catch (error) {
      // The session does not exist any more, which is what was asked for.
      if (!(error instanceof Refusal && error.status === 404)) throw error;
    }
    this.#set(this.listed.filter((one) => one.session_id !== session));
  }

  #set(listed: readonly Listed[]): void {
    // The answer to an earlier request may be out of date: it is dropped.
    this.#newest += 1;
    this.listed = listed;
    this.#changed();
    this.refresh();
  }

  #schedule(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#load(), milliseconds);
  }

  async #load(): Promise<void> {
    this.#newest += 1;
    const round = this.#newest;
    try {
      const listed = await listSessions();
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
    this.#scheduleNext();
  }

  /** Schedules the next poll. A hidden tab does not poll; `refresh` is called when it becomes visible. */
  #scheduleNext(): void {
    if (document.visibilityState !== 'visible') return;
    const isRunning = this.listed.some(({ state }) => state !== 'idle');
    this.#schedule(isRunning ? RUNNING_POLL_MS : IDLE_POLL_MS);
  }
}
