// The page behind what is drawn: the address names the session, one chat is open, and whoever draws is told of changes.

import { Chat } from './chat';
import { type Identity } from './storage/identity';
import { Outbox, type Receipt } from './storage/outbox';
import { PREFERENCES, type Preferences, prefer, preferences, spoken } from './storage/preferences';
import { SEEN } from './storage/seen';
import { onShared } from './storage/webStorage';
import { lastTurn, phase } from './log/conversation';
import { Sessions } from './sessions';
import { Refusal, stop } from './transport/api';
import { WORDS, type Words } from './words/words';
import { reason } from './words/status';

export class Page {
  chat: Chat;
  readonly outbox: Outbox;
  readonly sessions: Sessions;
  preferences: Preferences = preferences();
  /** A sentence on what a person asked for and did not get, until it is read. */
  failure = '';
  isStopping = false;
  readonly #identity: Identity;
  readonly #painters = new Set<() => void>();
  readonly #watchers = new Set<() => void>();
  #frame = 0;

  constructor(identity: Identity) {
    this.#identity = identity;
    this.sessions = new Sessions(() => this.changed());
    this.outbox = new Outbox(identity, {
      changed: () => this.changed(),
      accepted: (receipt) => this.#accepted(receipt),
    });
    this.chat = this.#chat(addressed());
  }

  start(): void {
    addEventListener('hashchange', () => this.#go(addressed()));
    addEventListener('online', () => this.#isOnline());
    addEventListener('offline', () => this.changed());
    // A page that comes back from the browser's cache had its stream closed by `pagehide`.
    addEventListener('pageshow', (event) => event.persisted && this.chat.open());
    addEventListener('pagehide', () => this.chat.close());
    document.addEventListener('visibilitychange', () => this.#seen());
    onShared(PREFERENCES, () => this.prefer({}));
    onShared(SEEN, () => this.sessions.refresh());
    this.chat.open();
    this.sessions.refresh();
  }

  /** Call once a frame at the most, and only while this page is seen: tokens come faster than a screen is drawn. */
  onPaint(painter: () => void): () => void {
    this.#painters.add(painter);
    return () => this.#painters.delete(painter);
  }

  /** Call at every change, seen or not. */
  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  get words(): Words {
    return WORDS[spoken(this.preferences)];
  }

  prefer(change: Partial<Preferences>): void {
    this.preferences = Object.keys(change).length > 0 ? prefer(change) : preferences();
    this.changed();
  }

  async stop(): Promise<void> {
    const { session } = this.chat;
    if (session === null || this.isStopping) return;
    this.isStopping = true;
    this.changed();
    await this.attempt(this.words.stop, () => stop(session));
    this.isStopping = false;
    this.changed();
  }

  /** Do what a person asked for, and say it where it did not work. Whether it did. */
  async attempt(what: string, action: () => Promise<unknown>): Promise<boolean> {
    this.say('');
    try {
      await action();
      return true;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.say(this.words.failed(what, reason(this.words, error)));
      return false;
    }
  }

  say(failure: string): void {
    this.failure = failure;
    this.changed();
  }

  async remove(session: string): Promise<void> {
    const isDone = await this.attempt(this.words.remove, () => this.sessions.remove(session));
    if (isDone && session === this.chat.session) this.open(null);
  }

  async rename(session: string, title: string): Promise<void> {
    await this.attempt(this.words.rename, () => this.sessions.rename(session, title));
  }

  open(session: string | null): void {
    // By the address, so that the browser's back leads back.
    location.hash = session === null ? '' : encodeURIComponent(session);
  }

  changed(): void {
    this.#notice();
    for (const watcher of this.#watchers) watcher();
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const painter of this.#painters) painter();
    });
  }

  /** What the reader has before their eyes is seen. */
  #notice(): void {
    const { session, conversation, connection, isShared } = this.chat;
    if (session === null || isShared || document.visibilityState !== 'visible' || connection?.kind !== 'live') return;
    const state = phase(conversation) === 'idle' ? 'idle' : 'streaming';
    if (conversation.messages.length > 0) this.sessions.seen(session, state, lastTurn(conversation));
  }

  #chat(session: string | null): Chat {
    const chat: Chat = new Chat(session, this.#identity.name, this.outbox, {
      changed: () => chat === this.chat && this.changed(),
      listed: () => this.sessions.refresh(),
    });
    return chat;
  }

  #go(session: string | null): void {
    if (session === this.chat.session) return;
    this.chat.close();
    this.chat = this.#chat(session);
    this.failure = '';
    this.isStopping = false;
    this.chat.open();
    this.sessions.refresh();
    this.changed();
  }

  #accepted(receipt: Receipt): void {
    const { chat } = this;
    const before = chat.session;
    chat.accepted(receipt);
    this.sessions.refresh();
    // The new chat has its session: the address names it from now on, so that a reload or another tab finds it. Any other
    // address is where the reader goes just now.
    if (chat.session !== before && addressed() === before) {
      history.pushState(null, '', `#${encodeURIComponent(chat.session ?? '')}`);
    }
  }

  #isOnline(): void {
    this.chat.wake();
    this.outbox.retryPassing();
    this.changed();
  }

  #seen(): void {
    this.chat.seen();
    if (document.visibilityState === 'visible') this.sessions.refresh();
    this.changed();
  }
}

/** The session that the address names after its `#`, or null for a new chat. */
function addressed(): string | null {
  const fragment = location.hash.slice(1);
  if (fragment === '') return null;
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment;
  }
}
