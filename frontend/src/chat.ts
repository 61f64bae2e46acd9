// One open session: its stream, its conversation, the chosen branches, and the messages that this tab has to send.

import { type Choices, type Step, path, tip } from './log/branches';
import { type Conversation, begun, fresh, phase, take } from './log/conversation';
import { relation } from './log/cursor';
import { type Rewritings, noRewritings, overtaken, rewritten } from './log/discarded';
import type { SessionEvent } from './log/events';
import { tabStore } from './storage/webStorage';
import type { Outbox, Receipt } from './storage/outbox';
import { parseAddress } from './transport/address';
import { SharedStream } from './transport/sharedStream';
import type { Connection } from './transport/stream';

// How long after an attach an accepted message that is neither queued nor logged counts as lost. While a reader
// attaches, a message can be on its way from the queue into the log.
const CHECK_FOR_LOST_MS = 1_000;

export interface ChatListener {
  /** Called when something to draw has changed. */
  changed(): void;
  /** Called when the list of sessions has changed. */
  listed(): void;
  /** The model for a message that is written now; undefined for the server's default. */
  model(): string | undefined;
}

export class Chat {
  /** The session as the page's address names it (address.ts); null for a new chat. */
  session: string | null;
  conversation: Conversation = fresh;
  /** What the page shows beside the conversation: answers that were discarded and are not overtaken yet. */
  rewritings: Rewritings = noRewritings;
  connection: Connection | null = null;
  /** When the stream reconnected after a break; null again from the next question on. */
  resumedAt: Date | null = null;
  choices: Choices = {};
  /** The models of the answers, since a snapshot names none. */
  #models: Readonly<Record<number, string>> = {};
  readonly #tab: string;
  readonly #outbox: Outbox;
  readonly #listener: ChatListener;
  #stream: SharedStream | null = null;
  #isBroken = false;
  #isAttached = false;
  #lostCheck: ReturnType<typeof setTimeout> | undefined;

  constructor(session: string | null, tabName: string, outbox: Outbox, listener: ChatListener) {
    this.session = session;
    this.#tab = tabName;
    this.#outbox = outbox;
    this.#listener = listener;
  }

  open(): void {
    if (!this.isShared) void this.#outbox.adopt(this.session);
    if (this.session === null) return;
    this.choices = (tabStore.get(branchOf(this.session)) as Choices | null) ?? {};
    this.#models = (tabStore.get(modelsOf(this.session)) as Record<number, string> | null) ?? {};
    this.#attach(this.session);
  }

  /** Whether this is another owner's session, which can only be read. */
  get isShared(): boolean {
    return this.session !== null && parseAddress(this.session).share !== null;
  }

  close(): void {
    this.#stream?.close();
    this.#stream = null;
    this.connection = null;
    clearTimeout(this.#lostCheck);
  }

  wake(): void {
    this.#stream?.wake();
  }

  visibilityChanged(): void {
    this.#stream?.visibilityChanged();
  }

  get steps(): Step[] {
    return path(this.conversation.messages, this.choices);
  }

  /** The model that wrote the answer of a turn, or null if that is unknown. */
  modelOf(turn: number): string | null {
    return this.conversation.attempts[turn]?.model ?? this.#models[turn] ?? null;
  }

  ask(text: string): void {
    const steps = this.steps;
    const end = tip(steps);
    // The parent is sent only if it is not the newest turn. The server knows the newest turn better than a page that
    // lags.
    const newest = this.conversation.messages.reduce((most, { turn }) => Math.max(most, turn), 0);
    this.#add(text, end === newest ? {} : { parent: end });
  }

  /** Asks an edited question, or the same question again, beside an existing turn. */
  askInstead(step: Pick<Step, 'turn' | 'parent'>, text: string): void {
    this.choose(step.parent, null);
    const isRunning = phase(this.conversation) !== 'idle';
    this.#add(text, { parent: step.parent, isBranch: true, ...(isRunning && { onBusy: 'interrupt' as const }) });
  }

  /** Chooses the branch behind a turn; null chooses the newest. */
  choose(parent: number, turn: number | null): void {
    const { [parent]: _, ...others } = this.choices;
    this.choices = turn === null ? others : { ...others, [parent]: turn };
    if (this.session !== null) tabStore.set(branchOf(this.session), this.choices);
    this.#listener.changed();
  }

  /** The new answer of a turn has become as long as the discarded one, which is therefore dropped. */
  overtaken(turn: number): void {
    this.rewritings = overtaken(this.rewritings, turn);
    this.#listener.changed();
  }

  accepted({ session, turn, text, model, began }: Receipt): void {
    if (began?.insteadOf === this.session && session !== this.session) {
      // The outbox keeps the message until the log has it. Until then, only this page shows it.
      this.#become(session, turn, text, model);
      return;
    }
    if (session !== this.session) return;
    // The conversation of a session that was gone proves nothing about the new log.
    if (this.connection?.kind === 'gone') this.#stream?.again();
    else this.#outbox.removeLogged(session, this.conversation);
  }

  #add(text: string, wish: Parameters<Outbox['add']>[3]): void {
    this.resumedAt = null;
    this.#outbox.add(text, this.session, this.conversation, { ...wish, model: this.#listener.model() });
  }

  #become(session: string, turn: number, text: string, model: string | undefined): void {
    this.session = session;
    this.conversation = begun(turn, text, model);
    this.rewritings = noRewritings;
    this.#attach(session);
  }

  #attach(session: string): void {
    this.#stream?.close();
    const stream: SharedStream = new SharedStream(session, this.#tab, {
      cursor: () => this.conversation.cursor,
      onEvent: (event) => stream === this.#stream && this.#received(session, event),
      onConnection: (connection) => stream === this.#stream && this.#connectionChanged(session, connection),
      conversation: () => this.conversation,
      adopt: (conversation) => stream === this.#stream && this.#adopt(session, conversation),
      isIdle: () => phase(this.conversation) === 'idle' && this.#outbox.of(session).length === 0,
    });
    this.#stream = stream;
    stream.open();
  }

  #connectionChanged(session: string, connection: Connection): void {
    this.connection = connection;
    // A connection that broke at once gives no reason to send a message again.
    clearTimeout(this.#lostCheck);
    const { kind } = connection;
    this.#isAttached = kind === 'live';
    if (kind === 'reconnecting' || kind === 'waiting') this.#isBroken = true;
    if (kind === 'live') this.#isBack();
    if (kind === 'gone') {
      // If the session is begun again, its event ids will belong to another conversation.
      this.conversation = { ...this.conversation, cursor: null };
      this.#models = {};
      tabStore.remove(modelsOf(session));
      this.#outbox.beginAgain(session);
      this.#listener.listed();
    }
    this.#listener.changed();
  }

  #isBack(): void {
    if (this.#isBroken) this.resumedAt = new Date();
    this.#isBroken = false;
    this.#outbox.retryPassing();
    this.#listener.listed();
  }

  #adopt(session: string, conversation: Conversation): void {
    const { messages, cursor } = this.conversation;
    const isEqual = cursor !== null && cursor === conversation.cursor;
    // Another version of the page may have sent it, with fewer fields. Equal messages arrive as a copy; they would be
    // drawn again.
    this.conversation = { ...fresh, ...conversation, ...(isEqual && { messages }) };
    if (!isEqual) this.rewritings = noRewritings;
    this.#keepModels(session);
    this.#outbox.removeLogged(session, conversation);
    // A following tab has no attach of its own; the leader's conversation replaces it.
    if (this.#isAttached) this.#afterAttach(session);
    this.#listener.changed();
  }

  #received(session: string, event: SessionEvent): void {
    if (event.event === 'ping') return;
    if (event.event !== 'state' && event.event !== 'snapshot') {
      // A tab that joins in mid-answer receives deltas before the leader's conversation, which already contains them.
      if (this.conversation.cursor === null) return;
      const order = relation(this.conversation.cursor, event.id);
      if (order === 'seen') return;
      // The ids do not show whether the first turn's `end` was received. A second turn begins only after it, so it was
      // missed.
      if (order === 'gap' || (event.event === 'message' && phase(this.conversation) !== 'idle')) {
        this.#startOver();
        return;
      }
    }
    const before = this.conversation;
    this.rewritings = rewritten(this.rewritings, before, event);
    this.conversation = take(before, event);
    this.#after(session, event, before);
    this.#listener.changed();
  }

  /** Reconnects without a cursor, so that the server sends a snapshot. */
  #startOver(): void {
    this.conversation = { ...this.conversation, cursor: null };
    this.#stream?.startOver();
  }

  #after(session: string, { event }: SessionEvent, before: Conversation): void {
    // After a `state` event the log has what the page shows, see `begun`.
    if (event === 'snapshot' || event === 'message' || event === 'state') {
      this.#outbox.removeLogged(session, this.conversation);
    }
    if (event === 'message') this.resumedAt = null;
    if (this.conversation.attempts !== before.attempts) this.#keepModels(session);
    if (event === 'message' || event === 'end' || this.conversation.title !== before.title) this.#listener.listed();
    if (event === 'state' && this.#isAttached) this.#afterAttach(session);
  }

  #keepModels(session: string): void {
    const known = Object.entries(this.conversation.attempts).filter(([, { model }]) => model !== null);
    this.#models = { ...this.#models, ...Object.fromEntries(known.map(([turn, { model }]) => [turn, model!])) };
    tabStore.set(modelsOf(session), this.#models);
  }

  #afterAttach(session: string): void {
    this.#isAttached = false;
    clearTimeout(this.#lostCheck);
    this.#lostCheck = setTimeout(() => this.#outbox.repeatUnknown(session, this.conversation), CHECK_FOR_LOST_MS);
  }
}

function branchOf(session: string): string {
  return `branch.${session}`;
}

function modelsOf(session: string): string {
  return `models.${session}`;
}
