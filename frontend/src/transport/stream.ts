// The stream of one session's events.
//
// EventSource reconnects by itself after a broken connection. But any answer other than 200 closes it for good (HTML
// standard, 9.2.3), and it never notices a connection that dies silently. This class handles both.

import { EVENT_NAMES, type EventName, type SessionEvent } from '../log/events';
import { eventsUrl, accessRefusal, type Reason } from './api';

// More than two intervals of the server's ping (docs/protocol.md 8.6). A stream that is silent for longer is dead, even
// if its socket is open.
const STALL_MS = 40_000;
const CHECK_EVERY_MS = 5_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

// Events that prove a connection good and reset the retry delay. A snapshot and a state do not: each attach begins with
// them, even if the connection breaks right after.
const PROOFS: ReadonlySet<EventName> = new Set(EVENT_NAMES.filter((name) => name !== 'snapshot' && name !== 'state'));

export type Connection =
  | { kind: 'connecting' | 'live' | 'reconnecting' | 'gone' | 'resting' }
  /** `why` is the server's refusal, if there was one. */
  | { kind: 'waiting'; seconds: number; why?: Reason };

export interface Listener {
  /** The id of the last snapshot or logged event, or null before the first. */
  cursor(): string | null;
  onEvent(event: SessionEvent): void;
  onConnection(connection: Connection): void;
}

export class Stream {
  readonly #session: string;
  readonly #listener: Listener;
  #source: EventSource | null = null;
  #attempt = 0;
  #failures = 0;
  #lastReceived = 0;
  #connection: Connection = { kind: 'connecting' };
  #retryTimer: number | undefined;
  #stallTimer: number | undefined;

  constructor(session: string, listener: Listener) {
    this.#session = session;
    this.#listener = listener;
  }

  open(): void {
    this.close();
    this.#lastReceived = Date.now();
    this.#setConnection({ kind: this.#connection.kind === 'connecting' ? 'connecting' : 'reconnecting' });
    const source = new EventSource(eventsUrl(this.#session, this.#listener.cursor()));
    source.onopen = () => source === this.#source && this.#setConnection({ kind: 'live' });
    source.onerror = () => this.#failed(source);
    for (const name of EVENT_NAMES) {
      source.addEventListener(name, (message: MessageEvent<string>) => this.#receive(source, name, message));
    }
    this.#source = source;
    this.#stallTimer = window.setInterval(() => this.#checkForStall(), CHECK_EVERY_MS);
  }

  close(): void {
    this.#attempt += 1;
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#retryTimer);
    clearInterval(this.#stallTimer);
  }

  /** Reconnects at once if there is no live connection: the machine woke, or the network changed. */
  wake(): void {
    if (this.#connection.kind !== 'gone' && (this.#connection.kind !== 'live' || this.#isStalled)) this.open();
  }

  /** Reconnects with the reader's cursor of that time. There is a delay, since the server may fail each time. */
  startOver(): void {
    this.close();
    this.#scheduleRetry();
  }

  #receive(source: EventSource, event: EventName, { data, lastEventId }: MessageEvent<string>): void {
    if (source !== this.#source) return;
    this.#lastReceived = Date.now();
    if (PROOFS.has(event)) this.#failures = 0;
    this.#listener.onEvent({ event, id: lastEventId || null, data: parsed(data) } as SessionEvent);
  }

  #failed(source: EventSource): void {
    if (source !== this.#source) return;
    if (source.readyState === EventSource.CLOSED) void this.#checkSession();
    // EventSource makes the first attempt to reconnect, after the delay that the server asked for (`retry`). If that
    // fails, it would try for ever with the same delay, and the page could not show when.
    else if (this.#connection.kind === 'live') this.#setConnection({ kind: 'reconnecting' });
    else this.startOver();
  }

  /** Asks whether the session can still be read: EventSource does not tell the status of an answer. */
  async #checkSession(): Promise<void> {
    this.close();
    this.#setConnection({ kind: 'reconnecting' });
    const attempt = this.#attempt;
    const found = await accessRefusal(this.#session);
    if (attempt !== this.#attempt) return;
    if (found?.status === 404) this.#setConnection({ kind: 'gone' });
    else this.#scheduleRetry(found === null || found.status === 0 ? undefined : found.reason);
  }

  /** Retries after a random delay (full jitter): readers that lost their server at once must not all return at once. */
  #scheduleRetry(why?: Reason): void {
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
    this.#setConnection({ kind: 'waiting', seconds: Math.ceil(left / 1_000), ...(why && { why }) });
    this.#retryTimer = window.setTimeout(() => this.#countDown(until, why), Math.min(left, 1_000));
  }

  #checkForStall(): void {
    if (this.#isStalled) this.open();
  }

  /**
   * Uses the wall clock, which goes on while the machine sleeps. `abs`, since a clock that is set back would hide a
   * stall.
   */
  get #isStalled(): boolean {
    return Math.abs(Date.now() - this.#lastReceived) > STALL_MS;
  }

  #setConnection(connection: Connection): void {
    this.#connection = connection;
    this.#listener.onConnection(connection);
  }
}

/** The data of an event, or null where it is no JSON: the log passes such an event over (docs/protocol.md 8.17). */
function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
