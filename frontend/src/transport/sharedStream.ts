// One connection for all tabs of a session. A browser gives a host six connections over HTTP/1.1, and a seventh stream would
// hang everything, POSTs too. The tab that holds the session's lock (W3C Web Locks) leads: it has the stream, and relays what
// it hears over a BroadcastChannel. When it closes the next in the queue is given the lock, and goes on from its own cursor.

import type { Conversation } from '../log/conversation';
import { place } from '../log/cursor';
import type { SessionEvent } from '../log/events';
import { type Connection, Stream } from './stream';

// A leader that lives answers at once; one that its browser has frozen does not, and keeps the lock all the same.
const HELLO_MS = 2_000;
// The leader relays the server's pings too.
const SILENCE_MS = 45_000;
const LOOK_EVERY_MS = 5_000;
// A session that nobody looks at and where nothing runs needs no connection; another one may.
const REST_AFTER_MS = 20_000;

export interface SharedStreamListener {
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
  | { kind: 'wake' | 'again' }
  | { kind: 'seen'; from: string; visible: boolean };

export class SharedStream {
  readonly #tab: string;
  readonly #lock: string;
  readonly #listener: SharedStreamListener;
  readonly #stream: Stream;
  readonly #channel: BroadcastChannel | null;
  readonly #watching = new Set<string>();
  #leads = false;
  #connection: Connection = { kind: 'connecting' };
  #release: (() => void) | null = null;
  #leaving: AbortController | null = null;
  #lastHeard = 0;
  #isUnanswered = false;
  #hello: number | undefined;
  #look: number | undefined;
  #rest: number | undefined;

  constructor(session: string, tab: string, listener: SharedStreamListener) {
    this.#tab = tab;
    this.#lock = `midsentence.stream.${session}`;
    this.#listener = listener;
    this.#stream = new Stream(session, {
      cursor: () => listener.cursor(),
      heard: (event) => this.#relay(event),
      said: (connection) => this.#tell(connection),
    });
    // oxlint-disable-next-line typescript/no-unnecessary-condition -- plain HTTP has no `navigator.locks`
    this.#channel = navigator.locks && typeof BroadcastChannel === 'function' ? new BroadcastChannel(this.#lock) : null;
    this.#channel?.addEventListener('message', ({ data }: MessageEvent<Note>) => this.#take(data));
  }

  open(): void {
    this.#leaving = new AbortController();
    if (this.#channel === null) {
      this.#lead();
    } else {
      this.#queue({});
      this.#greet();
      this.#look = window.setInterval(() => this.#lookForSilence(), LOOK_EVERY_MS);
    }
    this.#tellSight();
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

  /** A session that was gone was begun again. */
  again(): void {
    if (this.#leads) this.#stream.open();
    else this.#send({ kind: 'again' });
  }

  startOver(): void {
    if (this.#leads) this.#stream.startOver();
    else this.#greet();
  }

  /** This tab came to the front, or went behind. */
  seen(): void {
    const isResting = this.#connection.kind === 'resting';
    this.#tellSight();
    if (!isVisible()) return;
    this.#greet();
    // What rests was roused by the sight alone.
    if (!isResting) this.wake();
  }

  /** Something began or ended, so that the connection may be needed or not. */
  #settle(): void {
    clearTimeout(this.#rest);
    if (!this.#leads) return;
    const isNeeded = this.#watching.size > 0 || !this.#listener.isIdle();
    if (isNeeded && this.#connection.kind === 'resting') this.#rouse();
    if (!isNeeded && this.#connection.kind === 'live') {
      this.#rest = window.setTimeout(() => this.#sleep(), REST_AFTER_MS);
    }
  }

  #tellSight(): void {
    this.#note(this.#tab, isVisible());
    this.#send({ kind: 'seen', from: this.#tab, visible: isVisible() });
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
    asked.catch((error: unknown) => {
      if (signal.aborted) return;
      // A browser that forbids storage refuses locks as well: then this tab reads for itself.
      if (!(error instanceof DOMException && error.name === 'AbortError')) {
        this.#lead();
        return;
      }
      // Another tab took the lock while this one was frozen.
      this.#unlead();
      // Who stole it stands in the queue still.
      if (!options.steal) this.#queue({});
      this.#greet();
    });
  }

  #lead(): void {
    this.#isUnanswered = false;
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
    this.#isUnanswered = true;
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
    if (event.event === 'end' || event.event === 'state') this.#settle();
  }

  #tell(connection: Connection): void {
    this.#connection = connection;
    this.#send({ kind: 'said', connection });
    this.#listener.said(connection);
    if (connection.kind === 'live') this.#settle();
  }

  #take(note: Note): void {
    if (this.#leads) this.#answer(note);
    else this.#follow(note);
    if (note.kind === 'seen') this.#note(note.from, note.visible);
  }

  #answer(note: Note): void {
    if (note.kind === 'wake') this.#rouse();
    if (note.kind === 'again' && this.#connection.kind === 'gone') this.#stream.open();
    if (note.kind !== 'hello') return;
    const conversation = this.#listener.known();
    this.#send({ kind: 'welcome', to: note.from, conversation, connection: this.#connection });
  }

  #follow(note: Note): void {
    if (note.kind === 'hello' || note.kind === 'wake' || note.kind === 'again' || note.kind === 'seen') return;
    this.#lastHeard = Date.now();
    if (note.kind === 'event') this.#hear(note.event);
    if (note.kind === 'said') this.#say(note.connection);
    // Whoever leads now may not have heard the greeting: without another one each tab in turn would take the lock.
    if (note.kind === 'said' && this.#isUnanswered) this.#greet();
    if (note.kind !== 'welcome' || note.to !== this.#tab) return;
    this.#isUnanswered = false;
    clearTimeout(this.#hello);
    this.#say(note.connection);
    if (this.#isNews(note.conversation)) this.#listener.adopt(note.conversation);
  }

  /** A former leader that wakes answers what it was asked long ago, with what it knew then. */
  #isNews({ cursor }: Conversation): boolean {
    const here = this.#listener.cursor();
    return here === null || here === cursor || (cursor !== null && place(here, cursor) !== 'seen');
  }

  #hear(event: SessionEvent): void {
    // Who relays is connected. A former leader that wakes may have said otherwise of a connection that is none any more.
    if (this.#connection.kind !== 'live') this.#say({ kind: 'live' });
    this.#listener.heard(event);
    // The leader that was greeted had nothing to give yet, and is gone; this one went on from where it stood.
    if (this.#listener.cursor() === null && !this.#isUnanswered) this.#greet();
  }

  #say(connection: Connection): void {
    this.#connection = connection;
    this.#listener.said(connection);
    // A leader knows of those alone whom it heard come to the front.
    if (connection.kind === 'resting' && isVisible()) this.#tellSight();
  }

  #note(tab: string, visible: boolean): void {
    if (visible) this.#watching.add(tab);
    else this.#watching.delete(tab);
    this.#settle();
  }

  #send(note: Note): void {
    this.#channel?.postMessage(note);
  }
}

function isVisible(): boolean {
  return document.visibilityState === 'visible';
}
