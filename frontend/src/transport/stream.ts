// One session's events, for as long as the page wants them.
//
// EventSource comes back by itself after a broken connection, but any answer other than 200 closes it for good
// (HTML standard, 9.2.3), and a connection that dies without a word is never noticed. Both are mended here.

import { EVENT_NAMES, type EventName, type SessionEvent } from '../log/events';
import { eventsUrl, obstacle, type Reason } from './api';

// Two pings (docs/protocol.md 8.6) and some: what is silent for longer is dead, whatever the socket says.
const STALL_MS = 40_000;
const LOOK_EVERY_MS = 5_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

// Events that prove a connection good. Every attach brings a snapshot and a state, the one that breaks right after it too.
const PROOFS: ReadonlySet<EventName> = new Set(EVENT_NAMES.filter((name) => name !== 'snapshot' && name !== 'state'));

export type Connection =
  | { kind: 'connecting' | 'live' | 'reconnecting' | 'gone' | 'resting' }
  /** `why` is the server's word, where it had one. */
  | { kind: 'waiting'; seconds: number; why?: Reason };

export interface Listener {
  /** The id of the last event that was taken. */
  cursor(): string | null;
  heard(event: SessionEvent): void;
  said(connection: Connection): void;
}

export class Stream {
  readonly #session: string;
  readonly #listener: Listener;
  #source: EventSource | null = null;
  #round = 0;
  #failures = 0;
  #lastHeard = 0;
  #connection: Connection = { kind: 'connecting' };
  #timer: number | undefined;
  #watch: number | undefined;

  constructor(session: string, listener: Listener) {
    this.#session = session;
    this.#listener = listener;
  }

  open(): void {
    this.close();
    this.#lastHeard = Date.now();
    this.#say({ kind: this.#connection.kind === 'connecting' ? 'connecting' : 'reconnecting' });
    const source = new EventSource(eventsUrl(this.#session, this.#listener.cursor()));
    source.onopen = () => source === this.#source && this.#say({ kind: 'live' });
    source.onerror = () => this.#broke(source);
    for (const name of EVENT_NAMES) {
      source.addEventListener(name, (message: MessageEvent<string>) => this.#take(source, name, message));
    }
    this.#source = source;
    this.#watch = window.setInterval(() => this.#lookForStall(), LOOK_EVERY_MS);
  }

  close(): void {
    this.#round += 1;
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
  }

  /** The machine woke or the network changed: a wait is pointless now. */
  wake(): void {
    if (this.#connection.kind !== 'gone' && (this.#connection.kind !== 'live' || this.#isStalled)) this.open();
  }

  /** Come back from wherever the reader stands then. Not at once, for a server may fail every time. */
  startOver(): void {
    this.close();
    this.#wait();
  }

  #take(source: EventSource, event: EventName, { data, lastEventId }: MessageEvent<string>): void {
    if (source !== this.#source) return;
    this.#lastHeard = Date.now();
    if (PROOFS.has(event)) this.#failures = 0;
    this.#listener.heard({ event, id: lastEventId || null, data: JSON.parse(data) as unknown } as SessionEvent);
  }

  #broke(source: EventSource): void {
    if (source !== this.#source) return;
    if (source.readyState === EventSource.CLOSED) void this.#refused();
    // The first way back is EventSource's own, at the time that the server asked for. If that fails too it would try for
    // ever at the same pace, and nobody could say when.
    else if (this.#connection.kind === 'live') this.#say({ kind: 'reconnecting' });
    else this.startOver();
  }

  /** EventSource does not tell the status, so ask whether there is anything to come back to. */
  async #refused(): Promise<void> {
    this.close();
    this.#say({ kind: 'reconnecting' });
    const round = this.#round;
    const found = await obstacle(this.#session);
    if (round !== this.#round) return;
    if (found?.status === 404) this.#say({ kind: 'gone' });
    else this.#wait(found === null || found.status === 0 ? undefined : found.reason);
  }

  /** Full jitter: readers who were all cut at once must not all come back at once. */
  #wait(why?: Reason): void {
    const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#countDown(Date.now() + Math.random() * ceiling, why);
  }

  #countDown(until: number, why?: Reason): void {
    const left = until - Date.now();
    if (left <= 0) {
      this.open();
      return;
    }
    this.#say({ kind: 'waiting', seconds: Math.ceil(left / 1_000), ...(why && { why }) });
    this.#timer = window.setTimeout(() => this.#countDown(until, why), Math.min(left, 1_000));
  }

  #lookForStall(): void {
    if (this.#isStalled) this.open();
  }

  /** By the wall clock, which goes on while a machine sleeps; one that was set back would otherwise hide a stall. */
  get #isStalled(): boolean {
    return Math.abs(Date.now() - this.#lastHeard) > STALL_MS;
  }

  #say(connection: Connection): void {
    this.#connection = connection;
    this.#listener.said(connection);
  }
}
