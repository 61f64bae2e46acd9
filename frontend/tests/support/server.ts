// A server with one session: its log and the streams of its readers (docs/protocol.md, section 8).

import type { EndReason, Queued, SessionEvent, SessionState } from '../../src/log/events';
import { type Messages, fold, nothing } from '../../src/log/fold';
import { Tab } from './browser';

const PING_MS = 15_000;

export class Server {
  readonly log: SessionEvent[] = [];
  readonly streams = new Set<Source>();
  /** How many streams were requested so far. */
  opened = 0;
  isUp = true;
  /** Whether each stream is answered with a 404. */
  isGone = false;
  readonly #queue: Queued[] = [];
  #seq = 0;
  #epoch = 0;
  #turn = 0;
  #isRunning = false;

  /** Call it outside of any tab: the server's clock goes on while tabs are frozen. */
  constructor() {
    setInterval(() => this.#tell({ event: 'ping', id: null, data: {} }), PING_MS);
  }

  get messages(): Messages['messages'] {
    return this.upTo(null);
  }

  /** The conversation of the log up to an id. */
  upTo(id: string | null): Messages['messages'] {
    const at = id === null ? this.log.length : this.log.findIndex((event) => event.id === id) + 1;
    return this.log.slice(0, at).reduce(fold, nothing).messages;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  ask(text: string, key: string | null = null): void {
    this.#queue.push({ key, text });
    if (this.#isRunning) this.#tell(this.#state());
    else this.#next();
  }

  say(text: string): void {
    if (this.#isRunning) this.#append({ event: 'delta', id: this.#id(), data: { text } });
  }

  /** Another worker takes over and begins the answer again. */
  replaceWorker(): void {
    if (!this.#isRunning) return;
    this.#epoch += 1;
    this.#append({ event: 'reset', id: this.#id(), data: { attempt: this.#epoch, why: 'lease_expired' } });
    this.#append({
      event: 'start',
      id: this.#id(),
      data: { turn: this.#turn, attempt: this.#epoch, model: 'scripted' },
    });
  }

  end(reason: EndReason = 'stop'): void {
    if (!this.#isRunning) return;
    this.#append({ event: 'end', id: this.#id(), data: { reason, usage: null, error: null } });
    this.#isRunning = false;
    if (this.#queue.length > 0) this.#next();
    else this.#tell(this.#state());
  }

  /** Cuts each connection, as a restart of a proxy does. */
  cut(): void {
    for (const stream of this.streams) stream.breaks();
  }

  attach(source: Source): void {
    this.streams.add(source);
    for (const event of this.#since(source.cursor)) source.hears(event);
    source.hears(this.#state());
  }

  #since(cursor: string | null): SessionEvent[] {
    const at = this.log.findIndex((event) => event.id === cursor);
    if (at >= 0) return this.log.slice(at + 1);
    const id = this.log.at(-1)?.id ?? '0.0-0';
    return [{ event: 'snapshot', id, data: { session_id: 's', state: this.#phase, messages: this.messages } }];
  }

  #next(): void {
    const { text } = this.#queue.shift()!;
    this.#turn += 1;
    [this.#seq, this.#epoch, this.#isRunning] = [0, 0, true];
    const turn = this.#turn;
    this.#append({ event: 'message', id: this.#id(), data: { role: 'user', text, turn, parent: turn - 1 } });
    this.#tell(this.#state());
    this.#epoch = 1;
    this.#append({ event: 'start', id: this.#id(), data: { turn, attempt: 1, model: 'scripted' } });
  }

  #id(): string {
    const id = `${this.#turn}.${this.#epoch}-${this.#seq}`;
    this.#seq += 1;
    return id;
  }

  get #phase(): SessionState {
    return this.#isRunning ? 'streaming' : 'idle';
  }

  #state(): SessionEvent {
    const data = {
      state: this.#phase,
      turn: this.#turn,
      queued: [...this.#queue],
      title: 'Streams',
      model: 'scripted',
    };
    return { event: 'state', id: null, data };
  }

  #append(event: SessionEvent): void {
    this.log.push(event);
    this.#tell(event);
  }

  #tell(event: SessionEvent): void {
    for (const stream of this.streams) stream.hears(event);
  }
}

/** Makes an EventSource class whose streams this server answers. */
export function sourceOf(server: Server): typeof Source {
  return class extends Source {
    protected override readonly server = server;

    constructor(url: string) {
      super(url);
      server.opened += 1;
    }
  };
}

/** An EventSource of a tab. The browser's part goes on while the tab is frozen: it buffers the events. */
abstract class Source {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSED = 2;

  readyState = Source.CONNECTING;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  readonly tab = Tab.current;
  protected abstract readonly server: Server;
  readonly #listeners = new Map<string, (message: MessageEvent<string>) => void>();
  #cursor: string | null;
  #given: string | null;

  constructor(url: string) {
    this.#cursor = this.#given = new URL(url, 'http://page').searchParams.get('last_event_id');
    this.tab.browser.later(() => this.#connect(), this.tab.browser.latency());
  }

  /** The cursor from which the server continues. */
  get cursor(): string | null {
    return this.#given;
  }

  addEventListener(name: string, heard: (message: MessageEvent<string>) => void): void {
    this.#listeners.set(name, heard);
  }

  close(): void {
    this.readyState = Source.CLOSED;
    this.server.streams.delete(this);
  }

  hears({ event, id, data }: SessionEvent): void {
    this.#given = id ?? this.#given;
    this.tab.post(() => {
      if (this.readyState !== Source.OPEN) return;
      this.#cursor = id ?? this.#cursor;
      const message = new MessageEvent(event, { data: JSON.stringify(data), lastEventId: this.#cursor ?? '' });
      this.#listeners.get(event)?.(message);
    });
  }

  breaks(): void {
    this.server.streams.delete(this);
    this.tab.post(() => {
      if (this.readyState === Source.CLOSED) return;
      this.readyState = Source.CONNECTING;
      this.#given = this.#cursor;
      this.onerror?.();
      this.tab.browser.later(() => this.#connect(), 1_000);
    });
  }

  #connect(): void {
    if (this.readyState === Source.CLOSED || this.tab.isDead) return;
    if (this.server.isGone) {
      this.readyState = Source.CLOSED;
      this.tab.post(() => this.onerror?.());
      return;
    }
    if (!this.server.isUp) {
      this.breaks();
      return;
    }
    this.tab.post(() => {
      if (this.readyState === Source.CLOSED) return;
      this.readyState = Source.OPEN;
      this.onopen?.();
    });
    this.server.attach(this);
  }
}
