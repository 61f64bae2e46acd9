// One session's events, for as long as the page wants them.
//
// EventSource comes back by itself after a broken connection, but any answer other than 200 closes it for good
// (HTML standard, 9.2.3), and a connection that dies without a word is never noticed. Both are mended here.

import { eventsUrl, mayExist } from './api.js';

// Two pings (docs/protocol.md 5.6) and some: what is silent for longer is dead, whatever the socket says.
const STALL_MS = 40_000;
const LOOK_EVERY_MS = 5_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

const NAMES = ['snapshot', 'message', 'start', 'delta', 'reasoning', 'tool', 'reset', 'end', 'state', 'ping'];
// Events that prove a connection good. Every attach brings a snapshot and a state, the one that breaks right after it too.
const PROOFS = new Set(NAMES.filter((name) => name !== 'snapshot' && name !== 'state'));

export class Stream {
  #session;
  #cursor;
  #heard;
  #said;
  #source = null;
  #round = 0;
  #failures = 0;
  #lastHeard = 0;
  #status = { kind: 'connecting' };
  #timer;
  #watch;

  /** `cursor()` gives the last id that was taken; `heard(event)` gets each event; `said(status)` what became of the connection. */
  constructor(session, { cursor, heard, said }) {
    this.#session = session;
    this.#cursor = cursor;
    this.#heard = heard;
    this.#said = said;
  }

  open() {
    this.close();
    this.#lastHeard = Date.now();
    this.#say({ kind: this.#status.kind === 'connecting' ? 'connecting' : 'reconnecting' });
    const source = new EventSource(eventsUrl(this.#session, this.#cursor()));
    source.onopen = () => this.#say({ kind: 'live' });
    source.onerror = () => this.#broke(source);
    for (const name of NAMES) source.addEventListener(name, (message) => this.#take(source, message));
    this.#source = source;
    this.#watch = setInterval(() => this.#lookForStall(), LOOK_EVERY_MS);
  }

  close() {
    this.#round += 1;
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
  }

  /** The machine woke or the network changed: a wait is pointless now. */
  wake() {
    if (this.#status.kind !== 'gone' && (this.#status.kind !== 'live' || this.#isStalled)) this.open();
  }

  /** What came makes no sense from where the reader stands. Not at once, for a server may do so every time. */
  startOver() {
    this.close();
    this.#wait();
  }

  #take(source, { type, data, lastEventId }) {
    if (source !== this.#source) return;
    this.#lastHeard = Date.now();
    if (PROOFS.has(type)) this.#failures = 0;
    this.#heard({ event: type, id: lastEventId || null, data: JSON.parse(data) });
  }

  #broke(source) {
    if (source !== this.#source) return;
    if (source.readyState === EventSource.CLOSED) void this.#refused();
    else this.#say({ kind: 'reconnecting' });
  }

  /** EventSource does not tell the status, so ask whether there is anything to come back to. */
  async #refused() {
    this.close();
    this.#say({ kind: 'reconnecting' });
    const round = this.#round;
    const here = await mayExist(this.#session);
    if (round !== this.#round) return;
    if (here) this.#wait();
    else this.#say({ kind: 'gone' });
  }

  /** Full jitter: readers who were all cut at once must not all come back at once. */
  #wait() {
    const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#countDown(Date.now() + Math.random() * ceiling);
  }

  #countDown(until) {
    const left = until - Date.now();
    if (left <= 0) return this.open();
    this.#say({ kind: 'waiting', seconds: Math.ceil(left / 1_000) });
    this.#timer = setTimeout(() => this.#countDown(until), Math.min(left, 1_000));
  }

  #lookForStall() {
    if (this.#isStalled) this.open();
  }

  /** By the wall clock, which goes on while a machine sleeps; one that was set back would otherwise hide a stall. */
  get #isStalled() {
    return Math.abs(Date.now() - this.#lastHeard) > STALL_MS;
  }

  #say(status) {
    this.#status = status;
    this.#said(status);
  }
}
