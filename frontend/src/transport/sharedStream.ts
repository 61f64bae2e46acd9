// One connection for all tabs of a session. A browser opens six connections to a host over HTTP/1.1, so a seventh
// stream would block all requests, POSTs too. The tab that holds the session's lock (W3C Web Locks) leads: it has the
// stream and relays its events over a BroadcastChannel. When it closes, the next tab in the queue gets the lock and
// continues from its own cursor.

import type { Conversation } from '../log/conversation';
import { relation } from '../log/cursor';
import type { SessionEvent } from '../log/events';
import { type Connection, Stream } from './stream';

// How long a tab waits for the leader's answer before it steals the lock. A leader answers at once, unless its browser
// has frozen it; a frozen tab keeps its lock.
const HELLO_MS = 2_000;
// After how much silence a tab asks the leader again. The leader relays the server's pings, too.
const SILENCE_MS = 45_000;
const CHECK_EVERY_MS = 5_000;
// After what time the leader closes a stream that nobody needs: no tab is visible, and no turn is running or waiting.
// The browser's connection is then free for another session.
const REST_AFTER_MS = 20_000;

export interface SharedStreamListener {
  cursor(): string | null;
  onEvent(event: SessionEvent): void;
  onConnection(connection: Connection): void;
  /** The conversation that a leader sends to a tab that joins. */
  conversation(): Conversation;
  adopt(conversation: Conversation): void;
  /** True if no turn is running and no message of this tab is on its way. */
  isIdle(): boolean;
}

// Tabs with another version of the page may be open: these messages must stay compatible.
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
  readonly #visibleTabs = new Set<string>();
  #leads = false;
  #connection: Connection = { kind: 'connecting' };
  #releaseLock: (() => void) | null = null;
  #closing: AbortController | null = null;
  #lastReceived = 0;
  #isAwaitingWelcome = false;
  #helloTimer: number | undefined;
  #silenceTimer: number | undefined;
  #restTimer: number | undefined;

  constructor(session: string, tab: string, listener: SharedStreamListener) {
    this.#tab = tab;
    this.#lock = `midsentence.stream.${session}`;
    this.#listener = listener;
    this.#stream = new Stream(session, {
      cursor: () => listener.cursor(),
      onEvent: (event) => this.#relay(event),
      onConnection: (connection) => this.#shareConnection(connection),
    });
    // oxlint-disable-next-line typescript/no-unnecessary-condition -- plain HTTP has no `navigator.locks`
    this.#channel = navigator.locks && typeof BroadcastChannel === 'function' ? new BroadcastChannel(this.#lock) : null;
    this.#channel?.addEventListener('message', ({ data }: MessageEvent<Note>) => this.#receive(data));
  }

  open(): void {
    this.#closing = new AbortController();
    if (this.#channel === null) {
      this.#startLeading();
    } else {
      this.#requestLock({});
      this.#askLeader();
      this.#silenceTimer = window.setInterval(() => this.#checkForSilence(), CHECK_EVERY_MS);
    }
    this.#announceVisibility();
  }

  close(): void {
    this.#post({ kind: 'seen', from: this.#tab, visible: false });
    this.#closing?.abort();
    this.#stopLeading();
    clearTimeout(this.#helloTimer);
    clearInterval(this.#silenceTimer);
    this.#channel?.close();
  }

  /** Reconnects at once: the machine woke, the network changed, or the reader asked for it. */
  wake(): void {
    if (this.#leads) this.#resume();
    else this.#post({ kind: 'wake' });
  }

  /** Reconnects to a session that was gone and has begun again. */
  again(): void {
    if (this.#leads) this.#stream.open();
    else this.#post({ kind: 'again' });
  }

  startOver(): void {
    if (this.#leads) this.#stream.startOver();
    else this.#askLeader();
  }

  /** Call when this tab becomes visible or hidden. */
  visibilityChanged(): void {
    const isResting = this.#connection.kind === 'resting';
    this.#announceVisibility();
    if (!isVisible()) return;
    this.#askLeader();
    // A resting stream was resumed by `announceVisibility`.
    if (!isResting) this.wake();
  }

  /** Resumes the stream if it is needed, or lets it rest after a while if not. */
  #updateNeed(): void {
    clearTimeout(this.#restTimer);
    if (!this.#leads) return;
    const isNeeded = this.#visibleTabs.size > 0 || !this.#listener.isIdle();
    if (isNeeded && this.#connection.kind === 'resting') this.#resume();
    if (!isNeeded && this.#connection.kind === 'live') {
      this.#restTimer = window.setTimeout(() => this.#pause(), REST_AFTER_MS);
    }
  }

  #announceVisibility(): void {
    this.#noteVisibility(this.#tab, isVisible());
    this.#post({ kind: 'seen', from: this.#tab, visible: isVisible() });
  }

  #resume(): void {
    if (this.#connection.kind === 'resting') this.#stream.open();
    else this.#stream.wake();
  }

  #pause(): void {
    this.#stream.close();
    this.#shareConnection({ kind: 'resting' });
  }

  #requestLock(options: { steal?: true }): void {
    const { signal } = this.#closing!;
    const asked = navigator.locks.request(this.#lock, options.steal ? options : { signal }, () => {
      if (signal.aborted) return undefined;
      this.#startLeading();
      return new Promise<void>((release) => {
        this.#releaseLock = release;
      });
    });
    asked.catch((error: unknown) => {
      if (signal.aborted) return;
      // A browser that forbids storage forbids locks, too. This tab then opens a stream of its own.
      if (!(error instanceof DOMException && error.name === 'AbortError')) {
        this.#startLeading();
        return;
      }
      // Another tab took the lock while this one was frozen.
      this.#stopLeading();
      // If this tab once stole the lock, its first request is still in the queue.
      if (!options.steal) this.#requestLock({});
      this.#askLeader();
    });
  }

  #startLeading(): void {
    this.#isAwaitingWelcome = false;
    clearTimeout(this.#helloTimer);
    this.#leads = true;
    this.#stream.open();
  }

  #stopLeading(): void {
    clearTimeout(this.#restTimer);
    this.#leads = false;
    this.#stream.close();
    this.#releaseLock?.();
    this.#releaseLock = null;
  }

  /** Asks the leader for its conversation, and steals the lock if no answer comes. */
  #askLeader(): void {
    if (this.#leads) return;
    this.#isAwaitingWelcome = true;
    this.#post({ kind: 'hello', from: this.#tab });
    clearTimeout(this.#helloTimer);
    this.#helloTimer = window.setTimeout(() => !this.#leads && this.#requestLock({ steal: true }), HELLO_MS);
  }

  #checkForSilence(): void {
    const isSilent = Date.now() - this.#lastReceived > SILENCE_MS;
    if (!this.#leads && isSilent && this.#connection.kind !== 'resting') this.#askLeader();
  }

  #relay(event: SessionEvent): void {
    this.#post({ kind: 'event', event });
    this.#listener.onEvent(event);
    if (event.event === 'end' || event.event === 'state') this.#updateNeed();
  }

  #shareConnection(connection: Connection): void {
    this.#connection = connection;
    this.#post({ kind: 'said', connection });
    this.#listener.onConnection(connection);
    if (connection.kind === 'live') this.#updateNeed();
  }

  #receive(note: Note): void {
    if (this.#leads) this.#receiveAsLeader(note);
    else this.#receiveAsFollower(note);
    if (note.kind === 'seen') this.#noteVisibility(note.from, note.visible);
  }

  #receiveAsLeader(note: Note): void {
    if (note.kind === 'wake') this.#resume();
    if (note.kind === 'again' && this.#connection.kind === 'gone') this.#stream.open();
    if (note.kind !== 'hello') return;
    const conversation = this.#listener.conversation();
    this.#post({ kind: 'welcome', to: note.from, conversation, connection: this.#connection });
  }

  #receiveAsFollower(note: Note): void {
    if (note.kind === 'hello' || note.kind === 'wake' || note.kind === 'again' || note.kind === 'seen') return;
    this.#lastReceived = Date.now();
    if (note.kind === 'event') this.#followEvent(note.event);
    if (note.kind === 'said') this.#setConnection(note.connection);
    // A new leader may not have received this tab's `hello`. Without a second one, each tab in turn would steal the
    // lock.
    if (note.kind === 'said' && this.#isAwaitingWelcome) this.#askLeader();
    if (note.kind !== 'welcome' || note.to !== this.#tab) return;
    this.#isAwaitingWelcome = false;
    clearTimeout(this.#helloTimer);
    this.#setConnection(note.connection);
    if (this.#isNews(note.conversation)) this.#listener.adopt(note.conversation);
  }

  /** A former leader that thaws answers an old `hello` with an old conversation. */
  #isNews({ cursor }: Conversation): boolean {
    const here = this.#listener.cursor();
    return here === null || here === cursor || (cursor !== null && relation(here, cursor) !== 'seen');
  }

  #followEvent(event: SessionEvent): void {
    // A leader that relays is connected. A former leader that thaws may have reported the state of a closed connection.
    if (this.#connection.kind !== 'live') this.#setConnection({ kind: 'live' });
    this.#listener.onEvent(event);
    // The leader that answered had no conversation yet and is gone. The new leader continues from its own cursor.
    if (this.#listener.cursor() === null && !this.#isAwaitingWelcome) this.#askLeader();
  }

  #setConnection(connection: Connection): void {
    this.#connection = connection;
    this.#listener.onConnection(connection);
    // A new leader does not know which tabs became visible before it led.
    if (connection.kind === 'resting' && isVisible()) this.#announceVisibility();
  }

  #noteVisibility(tab: string, visible: boolean): void {
    if (visible) this.#visibleTabs.add(tab);
    else this.#visibleTabs.delete(tab);
    this.#updateNeed();
  }

  #post(note: Note): void {
    this.#channel?.postMessage(note);
  }
}

function isVisible(): boolean {
  return document.visibilityState === 'visible';
}
