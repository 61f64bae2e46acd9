// The state of the page: the address names the session, one chat is open, and views are notified of changes.

import { Chat } from './chat';
import { type Identity } from './storage/identity';
import { Outbox, type Receipt } from './storage/outbox';
import { PREFERENCES, type Preferences, prefer, preferences, chosenLanguage } from './storage/preferences';
import { SEEN } from './storage/seen';
import { onShared } from './storage/webStorage';
import { lastTurn, phase } from './log/conversation';
import { Models } from './models';
import { Sessions } from './sessions';
import { Refusal, stop } from './transport/api';
import { WORDS, type Words } from './words/words';
import { reason } from './words/status';

export class Page {
  chat: Chat;
  readonly outbox: Outbox;
  readonly sessions: Sessions;
  readonly models: Models;
  preferences: Preferences = preferences();
  /** Why the reader's last action failed; empty once it is dismissed. */
  failure = '';
  isStopping = false;
  readonly #identity: Identity;
  readonly #painters = new Set<() => void>();
  readonly #watchers = new Set<() => void>();
  #frame = 0;

  constructor(identity: Identity) {
    this.#identity = identity;
    this.sessions = new Sessions(() => this.changed());
    this.models = new Models(() => this.#modelsLoaded());
    this.outbox = new Outbox(identity, {
      changed: () => this.changed(),
      accepted: (receipt) => this.#accepted(receipt),
      failed: ({ code }) => code === 'unknown_model' && void this.models.load(),
    });
    this.chat = this.#chat(addressed());
  }

  start(): void {
    addEventListener('hashchange', () => this.#show(addressed()));
    addEventListener('online', () => this.#cameOnline());
    addEventListener('offline', () => this.changed());
    // `pagehide` closed the stream of a page that comes back from the back/forward cache.
    addEventListener('pageshow', (event) => event.persisted && this.chat.open());
    addEventListener('pagehide', () => this.chat.close());
    document.addEventListener('visibilitychange', () => this.#visibilityChanged());
    onShared(PREFERENCES, () => this.prefer({}));
    onShared(SEEN, () => this.sessions.refresh());
    this.chat.open();
    this.sessions.refresh();
    void this.models.load();
  }

  /**
   * Calls `painter` after changes: once a frame at most, since tokens arrive faster, and only while the page is
   * visible.
   */
  onPaint(painter: () => void): () => void {
    this.#painters.add(painter);
    return () => this.#painters.delete(painter);
  }

  /** Calls `watcher` after each change, also while the page is hidden. */
  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  get words(): Words {
    return WORDS[chosenLanguage(this.preferences)];
  }

  prefer(change: Partial<Preferences>): void {
    this.preferences = Object.keys(change).length > 0 ? prefer(change) : preferences();
    this.changed();
  }

  /** The model for the next message; undefined for the server's default. */
  get model(): string | undefined {
    const { model } = this.preferences;
    // Before the list is loaded, the choice counts: a reader may have a reason not to ask the default.
    if (model === null || !this.models.isLoaded) return model ?? undefined;
    return this.models.isChoice && this.models.offers(model) ? model : undefined;
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

  /** Runs an action of the reader and shows its failure. Resolves with true if it succeeded. */
  async attempt(what: string, action: () => Promise<unknown>): Promise<boolean> {
    this.showFailure('');
    try {
      await action();
      return true;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.showFailure(this.words.failed(what, reason(this.words, error)));
      return false;
    }
  }

  showFailure(failure: string): void {
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
    // Through the address, so that the browser's back button works.
    location.hash = session === null ? '' : encodeURIComponent(session);
  }

  changed(): void {
    this.#markSeen();
    for (const watcher of this.#watchers) watcher();
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const painter of this.#painters) painter();
    });
  }

  /** Marks the shown turns as seen, if the page is visible and its stream is live. */
  #markSeen(): void {
    const { session, conversation, connection, isShared } = this.chat;
    if (session === null || isShared || document.visibilityState !== 'visible' || connection?.kind !== 'live') return;
    const state = phase(conversation) === 'idle' ? 'idle' : 'streaming';
    if (conversation.messages.length > 0) this.sessions.seen(session, state, lastTurn(conversation));
  }

  #chat(session: string | null): Chat {
    const chat: Chat = new Chat(session, this.#identity.name, this.outbox, {
      changed: () => chat === this.chat && this.changed(),
      listed: () => this.sessions.refresh(),
      model: () => this.model,
    });
    return chat;
  }

  #show(session: string | null): void {
    if (session === this.chat.session) return;
    this.chat.close();
    this.chat = this.#chat(session);
    this.failure = '';
    this.isStopping = false;
    this.chat.open();
    this.sessions.refresh();
    this.changed();
  }

  #modelsLoaded(): void {
    const { model } = this.preferences;
    if (model !== null && !this.models.offers(model)) this.prefer({ model: null });
    else this.changed();
  }

  #accepted(receipt: Receipt): void {
    const { chat } = this;
    const before = chat.session;
    chat.accepted(receipt);
    this.sessions.refresh();
    // The new chat has a session. From now on the address names it, so that a reload or another tab finds it. If the
    // address has changed meanwhile, the reader is on the way to another session.
    if (chat.session !== before && addressed() === before) {
      history.pushState(null, '', `#${encodeURIComponent(chat.session ?? '')}`);
    }
  }

  #cameOnline(): void {
    this.chat.wake();
    this.outbox.retryPassing();
    void this.models.load();
    this.changed();
  }

  #visibilityChanged(): void {
    this.chat.visibilityChanged();
    if (document.visibilityState === 'visible') {
      this.sessions.refresh();
      void this.models.load();
    }
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
