// Messages on their way to the server, in the order in which they were typed.
//
// A message is kept until it is in the log, not only until its 202: a crash of Redis can lose an accepted message
// (docs/protocol.md 4.2), and then only this browser has the text. It can be sent again safely, since its key stays the
// same. Messages are in the storage that all tabs share, under the name of their tab. If a tab closes, the next tab
// that opens the session adopts its messages.

import type { Conversation } from '../log/conversation';
import { lastTurn } from '../log/conversation';
import { type Ask, type OnBusy, type Reason, Refusal, ask, newKey } from '../transport/api';
import { type Identity } from './identity';
import { type Store, sharedStore } from './webStorage';

const PREFIX = 'outbox.';

export interface Unsent {
  readonly key: string;
  readonly text: string;
  /** The session that it is sent to; null begins one. */
  readonly session: string | null;
  /** The turn that it follows; undefined for the newest. */
  readonly parent?: number;
  /** The key of the message that it follows, if that one has no turn yet. */
  readonly behind?: string;
  readonly onBusy?: OnBusy;
  /** The model that was chosen when it was written; undefined for the server's default. */
  readonly model?: string | undefined;
  readonly state: 'waiting' | 'sending' | 'accepted' | 'failed';
  /** The request under this key. It must not change: the server refuses another body under the same key. */
  readonly sent: { session: string | null; body: Ask } | null;
  readonly turn: number | null;
  /** The newest turn at the time it was typed. */
  readonly after: number;
  readonly why: Reason | null;
  readonly begunAgain?: boolean;
}

export interface Receipt {
  readonly key: string;
  readonly session: string;
  readonly turn: number;
  readonly text: string;
  readonly model?: string | undefined;
  /** Set if the message began the session: it replaces none (null), or one that the server has lost. */
  readonly began?: { insteadOf: string | null };
}

export interface OutboxListener {
  changed(): void;
  accepted(receipt: Receipt): void;
  failed(why: Reason): void;
}

export interface Wish {
  parent?: number;
  /** It is a new branch of that parent, so it does not follow the message typed before it. */
  isBranch?: boolean;
  onBusy?: OnBusy;
  model?: string | undefined;
}

export class Outbox {
  readonly #identity: Identity;
  readonly #listener: OutboxListener;
  readonly #store: Store;
  #entries: readonly Unsent[];
  #isBusy = false;
  #isKept = true;

  constructor(identity: Identity, listener: OutboxListener, store: Store = sharedStore) {
    this.#identity = identity;
    this.#listener = listener;
    this.#store = store;
    // Nothing is sent before `adopt`, since the listener is not complete yet.
    this.#entries = recalled(store, identity.name).map(interrupted);
  }

  of(session: string | null): Unsent[] {
    return this.#entries.filter((entry) => entry.session === session);
  }

  /** Whether the messages will outlive this tab. */
  get isKept(): boolean {
    return this.#isKept;
  }

  add(
    text: string,
    session: string | null,
    conversation: Conversation,
    { parent, isBranch, onBusy, model }: Wish = {},
  ): string {
    const before = isBranch || parent === undefined ? undefined : this.of(session).at(-1);
    const entry: Unsent = {
      key: newKey(),
      text,
      session,
      ...(parent !== undefined && { parent }),
      // A message that goes to the newest turn is in another branch, which the reader has left since.
      ...(before?.parent !== undefined && { behind: before.key }),
      ...(onBusy !== undefined && { onBusy }),
      ...(model !== undefined && { model }),
      state: 'waiting',
      sent: null,
      turn: null,
      after: lastTurn(conversation),
      why: null,
    };
    this.#save([...this.#entries, entry]);
    void this.#pump();
    return entry.key;
  }

  /** Adopts the unsent messages of closed tabs for this session; with null, for sessions that were not begun. */
  async adopt(session: string | null): Promise<void> {
    const others = this.#store
      .keys()
      .filter((name) => name.startsWith(PREFIX) && name !== PREFIX + this.#identity.name);
    for (const other of await this.#identity.gone(others.map((name) => name.slice(PREFIX.length)))) {
      const left = recalled(this.#store, other);
      const [theirs, rest] = [
        left.filter((entry) => entry.session === session),
        left.filter((entry) => entry.session !== session),
      ];
      if (theirs.length === 0 && rest.length > 0) continue;
      if (rest.length === 0) this.#store.remove(PREFIX + other);
      else this.#store.set(PREFIX + other, rest);
      const mine = new Set(this.#entries.map(({ key }) => key));
      this.#save([...this.#entries, ...theirs.filter(({ key }) => !mine.has(key)).map(interrupted)]);
    }
    void this.#pump();
  }

  /** Sends a failed message again: if its model was refused, with `model`, else as it was. */
  retry(key: string, model?: string): void {
    const isOfUnknownModel = this.#entries.find((one) => one.key === key)?.why?.code === 'unknown_model';
    // The server has done nothing under this key, so that another body can follow.
    this.#change(key, { state: 'waiting', why: null, ...(isOfUnknownModel && { model, sent: null }) });
    void this.#pump();
  }

  /** The server can be reached again: sends the messages that failed because of it. */
  retryPassing(): void {
    for (const { key, state, why } of this.#entries) {
      if (state === 'failed' && why !== null && (why.status === 0 || why.status >= 500)) {
        this.#change(key, { state: 'waiting', why: null });
      }
    }
    void this.#pump();
  }

  /** Removes a failed message and returns its text, to be edited. */
  takeBack(key: string): string {
    const entry = this.#entries.find((one) => one.key === key);
    this.#save(this.#entries.filter((one) => one !== entry));
    void this.#pump();
    return entry?.text ?? '';
  }

  /** Removes the messages that are in the log now. Messages that follow one of them get its turn as their parent. */
  removeLogged(session: string, conversation: Conversation): void {
    const turns = new Map<string, number>();
    for (const entry of this.of(session)) {
      const turn = turnIn(entry, conversation);
      if (turn !== undefined) turns.set(entry.key, turn);
    }
    if (turns.size === 0) return;
    const left = this.#entries.filter(({ key }) => !turns.has(key));
    this.#save(
      left.map((entry) => ({ ...entry, ...(turns.has(entry.behind ?? '') && { parent: turns.get(entry.behind!)! }) })),
    );
    void this.#pump();
  }

  /** Sends accepted messages again that are neither in the log nor in the queue. */
  repeatUnknown(session: string, conversation: Conversation): void {
    this.#repeat((entry) => entry.session === session && !isKnown(entry, conversation));
  }

  /**
   * The server does not know the session: if a message of this tab began it, sends that again. False if there is none.
   */
  beginAgain(session: string): boolean {
    return this.#repeat((entry) => entry.session === session && entry.sent?.session === null && !entry.begunAgain, {
      begunAgain: true,
    });
  }

  #repeat(isLost: (entry: Unsent) => boolean, mark: Partial<Unsent> = {}): boolean {
    const lost = this.#entries.filter((entry) => entry.state === 'accepted' && isLost(entry));
    for (const { key } of lost) this.#change(key, { state: 'waiting', ...mark });
    void this.#pump();
    return lost.length > 0;
  }

  /**
   * Sends one message at a time, since two concurrent POSTs may arrive in either order. A failed one stops those behind
   * it.
   */
  async #pump(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      for (let entry = this.#next(); entry !== undefined; entry = this.#next()) await this.#send(entry);
    } finally {
      this.#isBusy = false;
    }
  }

  #next(): Unsent | undefined {
    const held = new Set<string | null>();
    return this.#entries.find((entry) => {
      if (entry.state === 'accepted' || held.has(entry.session)) return false;
      if (entry.state !== 'failed') return true;
      held.add(entry.session);
      return false;
    });
  }

  async #send(entry: Unsent): Promise<void> {
    const { key } = entry;
    const sent = entry.sent ?? { session: entry.session, body: this.#body(entry) };
    this.#change(key, { state: 'sending', sent });
    try {
      const { session, turn } = await ask(sent.session, sent.body, key);
      // Messages typed behind it go to the session that it began.
      const insteadOf = entry.session;
      if (sent.session === null) {
        this.#save(this.#entries.map((one) => (one.session === insteadOf ? { ...one, session } : one)));
      }
      this.#change(key, { state: 'accepted', turn });
      this.#listener.accepted({
        key,
        session,
        turn,
        text: entry.text,
        model: entry.model,
        ...(sent.session === null && { began: { insteadOf } }),
      });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // A message that was accepted before is sent again after each attach, so this failure is not shown.
      const isLater = entry.turn !== null && !entry.begunAgain && error.isPassing;
      this.#change(key, isLater ? { state: 'accepted' } : { state: 'failed', why: error.reason });
      this.#listener.failed(error.reason);
    }
  }

  #body({ text, parent, behind, onBusy, model }: Unsent): Ask {
    const before = this.#entries.find((one) => one.key === behind);
    const follows = parent === undefined ? undefined : (before?.turn ?? parent);
    return {
      text,
      ...(follows !== undefined && { parent: follows }),
      ...(onBusy !== undefined && { on_busy: onBusy }),
      ...(model !== undefined && { model }),
    };
  }

  #change(key: string, parts: Partial<Unsent>): void {
    this.#save(this.#entries.map((entry) => (entry.key === key ? { ...entry, ...parts } : entry)));
  }

  #save(entries: readonly Unsent[]): void {
    this.#entries = entries;
    const name = PREFIX + this.#identity.name;
    if (entries.length === 0) this.#store.remove(name);
    else this.#isKept = this.#store.set(name, entries);
    this.#listener.changed();
  }
}

function recalled(store: Store, tab: string): Unsent[] {
  const kept = store.get(PREFIX + tab);
  return Array.isArray(kept) ? (kept as Unsent[]) : [];
}

/** It is unknown whether the request of a closed page arrived; with the same key it can be sent again. */
function interrupted(entry: Unsent): Unsent {
  return entry.state === 'sending' ? { ...entry, state: 'waiting' } : entry;
}

export function isKnown(entry: Unsent, conversation: Conversation): boolean {
  return conversation.queued.some((waiting) => waiting.key === entry.key) || turnIn(entry, conversation) !== undefined;
}

/** The turn under which the message is in the log. */
function turnIn(entry: Unsent, { messages }: Conversation): number | undefined {
  return messages.find(({ role, text, turn }) => role === 'user' && text === entry.text && isTurnOf(entry, turn))?.turn;
}

/**
 * Events have no key. If no 202 named the turn, a later logged message with the same text is this one; its 202 was
 * lost.
 */
function isTurnOf(entry: Unsent, turn: number): boolean {
  return entry.turn === null ? entry.sent !== null && turn > entry.after : turn === entry.turn;
}
