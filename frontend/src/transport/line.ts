// One connection for all tabs of a session. A browser gives a host six connections over HTTP/1.1, and a seventh stream would
// hang everything, POSTs too. The tab that holds the session's lock (W3C Web Locks) leads: it has the stream, and relays what
// it hears over a BroadcastChannel. When it closes the next in the queue is given the lock, and goes on from its own cursor.

import type { Conversation } from '../log/conversation';
import type { SessionEvent } from '../log/events';
import { type Connection, Stream } from './stream';

// A leader that lives answers at once; one that its browser has frozen does not, and keeps the lock all the same.
const HELLO_MS = 2_000;
// The leader relays the server's pings too.
const SILENCE_MS = 45_000;
const LOOK_EVERY_MS = 5_000;
// A session that nobody looks at and where nothing runs needs no connection; another one may.
const REST_AFTER_MS = 20_000;

export interface LineListener {
  cursor(): string | null;
  heard(event: SessionEvent): void;
  said(connection: Connection): void;
  /** What a tab that joins is given: all that the leader knows. */
  known(): Conversation;
  adopt(conversation: Conversation): void;
  /** Whether anything may come that was not asked for here. */
  isIdle(): boolean;
}

type Note =
  | { kind: 'hello'; from: string }
  | { kind: 'welcome'; to: string; conversation: Conversation; connection: Connection }
  | { kind: 'event'; event: SessionEvent }
  | { kind: 'said'; connection: Connection }
  | { kind: 'wake' }
  | { kind: 'seen'; from: string; visible: boolean };

export class Line {
  readonly #tab: string;
  readonly #lock: string;
  readonly #listener: LineListener;
  readonly #stream: Stream;
  readonly #channel: BroadcastChannel | null;
  readonly #watching = new Set<string>();
  #leads = false;
  #connection: Connection = { kind: 'connecting' };
  #release: (() => void) | null = null;
  #leaving: AbortController | null = null;
  #lastHeard = 0;
  #hello: number | undefined;
  #look: number | undefined;
  #rest: number | undefined;

  constructor(session: string, tab: string, listener: LineListener) {
    this.#tab = tab;
    this.#lock = `midsentence.stream.${session}`;
    this.#listener = listener;
    this.#stream = new Stream(session, {
      cursor: () => listener.cursor(),
      heard: (event) => this.#relay(event),
      said: (connection) => this.#tell(connection),
    });
    this.#channel = navigator.locks && typeof BroadcastChannel === 'function' ? new BroadcastChannel(this.#lock) : null;
    this.#channel?.addEventListener('message', ({ data }: MessageEvent<Note>) => this.#take(data));
  }

  open(): void {
    this.#leaving = new AbortController();
    if (this.#channel === null) {
      this.#lead();
      return;
    }
    this.#queue({});
    this.#greet();
    this.#look = window.setInterval(() => this.#lookForSilence(), LOOK_EVERY_MS);
    this.seen();
  }

  close(): void {
    this.#send({ kind: 'seen', from: this.#tab, visible: false });
    this.#leaving?.abort();
    this.#unlead();
    clearTimeout(this.#hello);
    clearInterval(this.#look);
    this.#channel?.close();
  }

  /** The machine woke, the network changed, or somebody will not wait. */
  wake(): void {
    if (this.#leads) this.#rouse();
    else this.#send({ kind: 'wake' });
  }

  startOver(): void {
    if (this.#leads) this.#stream.startOver();
    else this.#greet();
  }

  /** This tab came to the front, or went behind. */
  seen(): void {
    const visible = document.visibilityState === 'visible';
    this.#note(this.#tab, visible);
    this.#send({ kind: 'seen', from: this.#tab, visible });
    if (!this.#leads && visible) this.#greet();
  }

  /** Something began or ended, so that the connection may be needed or not. */
  settle(): void {
    clearTimeout(this.#rest);
    if (!this.#leads) return;
    const isNeeded = this.#watching.size > 0 || !this.#listener.isIdle();
    if (isNeeded && this.#connection.kind === 'resting') this.#rouse();
    if (!isNeeded && this.#connection.kind === 'live') this.#rest = window.setTimeout(() => this.#sleep(), REST_AFTER_MS);
  }

  #rouse(): void {
    if (this.#connection.kind === 'resting') this.#stream.open();
    else this.#stream.wake();
  }

  #sleep(): void {
    this.#stream.close();
    this.#tell({ kind: 'resting' });
  }

  #queue(options: { steal?: true }): void {
    const { signal } = this.#leaving!;
    const asked = navigator.locks.request(this.#lock, options.steal ? options : { signal }, () => {
      if (signal.aborted) return undefined;
      this.#lead();
      return new Promise<void>((release) => {
        this.#release = release;
      });
    });
    asked.catch(() => {
      // Either this tab left, or another one took the lock while this one was frozen.
      if (signal.aborted) return;
      this.#unlead();
      // Who stole it stands in the queue still.
      if (!options.steal) this.#queue({});
      this.#greet();
    });
  }

  #lead(): void {
    clearTimeout(this.#hello);
    this.#leads = true;
    this.#stream.open();
  }

  #unlead(): void {
    clearTimeout(this.#rest);
    this.#leads = false;
    this.#stream.close();
    this.#release?.();
    this.#release = null;
  }

  /** Ask the leader for all that it knows. */
  #greet(): void {
    if (this.#leads) return;
    this.#send({ kind: 'hello', from: this.#tab });
    clearTimeout(this.#hello);
    this.#hello = window.setTimeout(() => !this.#leads && this.#queue({ steal: true }), HELLO_MS);
  }

  #lookForSilence(): void {
    const isSilent = Date.now() - this.#lastHeard > SILENCE_MS;
    if (!this.#leads && isSilent && this.#connection.kind !== 'resting') this.#greet();
  }

  #relay(event: SessionEvent): void {
    this.#send({ kind: 'event', event });
    this.#listener.heard(event);
    if (event.event === 'end' || event.event === 'state') this.settle();
  }

  #tell(connection: Connection): void {
    this.#connection = connection;
    this.#send({ kind: 'said', connection });
    this.#listener.said(connection);
    if (connection.kind === 'live') this.settle();
  }

  #take(note: Note): void {
    if (this.#leads) this.#answer(note);
    else this.#follow(note);
    if (note.kind === 'seen') this.#note(note.from, note.visible);
  }

  #answer(note: Note): void {
    if (note.kind === 'wake') this.#rouse();
    if (note.kind !== 'hello') return;
    const conversation = this.#listener.known();
    this.#send({ kind: 'welcome', to: note.from, conversation, connection: this.#connection });
  }

  #follow(note: Note): void {
    if (note.kind === 'hello' || note.kind === 'wake' || note.kind === 'seen') return;
    this.#lastHeard = Date.now();
    if (note.kind === 'event') this.#listener.heard(note.event);
    if (note.kind === 'said') this.#say(note.connection);
    if (note.kind !== 'welcome' || note.to !== this.#tab) return;
    clearTimeout(this.#hello);
    if (note.conversation.cursor !== this.#listener.cursor() || note.conversation.cursor === null) this.#listener.adopt(note.conversation);
    this.#say(note.connection);
  }

  #say(connection: Connection): void {
    this.#connection = connection;
    this.#listener.said(connection);
  }

  #note(tab: string, visible: boolean): void {
    if (visible) this.#watching.add(tab);
    else this.#watching.delete(tab);
    this.settle();
  }

  #send(note: Note): void {
    this.#channel?.postMessage(note);
  }
}
