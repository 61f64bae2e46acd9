// An EventSource (HTML standard, 9.2) whose server is the test.

import type { SessionEvent } from '../../src/log/events';

type Heard = (message: MessageEvent<string>) => void;

export class FakeEventSource {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSED = 2;
  static all: FakeEventSource[] = [];

  readyState = FakeEventSource.CONNECTING;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  readonly url: string;
  readonly #listeners = new Map<string, Heard>();
  #lastEventId = '';

  constructor(url: string) {
    this.url = url;
    FakeEventSource.all.push(this);
  }

  static get last(): FakeEventSource {
    return FakeEventSource.all.at(-1)!;
  }

  /** The sources that a server would still have open. */
  static get alive(): FakeEventSource[] {
    return FakeEventSource.all.filter(({ readyState }) => readyState !== FakeEventSource.CLOSED);
  }

  get cursor(): string | null {
    return new URL(this.url, 'http://page').searchParams.get('last_event_id');
  }

  addEventListener(name: string, heard: Heard): void {
    this.#listeners.set(name, heard);
  }

  close(): void {
    this.readyState = FakeEventSource.CLOSED;
  }

  /** The server answered 200. */
  opens(): void {
    this.readyState = FakeEventSource.OPEN;
    this.onopen?.();
  }

  says({ event, id, data }: SessionEvent): void {
    // An event without an id has the id of the last event with one.
    this.saysRaw(event, id ?? this.#lastEventId, JSON.stringify(data));
  }

  saysRaw(event: string, id: string, data: string): void {
    this.#lastEventId = id;
    this.#listeners.get(event)?.(new MessageEvent(event, { data, lastEventId: id }));
  }

  /** The connection broke, and the browser will reconnect. */
  breaks(): void {
    this.readyState = FakeEventSource.CONNECTING;
    this.onerror?.();
  }

  /** The server answered with another status than 200, and the browser gives up. */
  isRefused(): void {
    this.readyState = FakeEventSource.CLOSED;
    this.onerror?.();
  }
}
