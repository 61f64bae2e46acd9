// One session as this tab follows it: its line to the server, what the log says, and what this tab has still to say.

import { type Choices, type Step, path, tip } from './log/branches';
import { type Conversation, begun, fresh, phase, take } from './log/conversation';
import { place } from './log/cursor';
import type { SessionEvent } from './log/events';
import { tabStore } from './storage/webStorage';
import type { Outbox, Receipt } from './storage/outbox';
import { placeOf } from './transport/address';
import { SharedStream } from './transport/sharedStream';
import type { Connection } from './transport/stream';

// A message can be moving from the queue into the log while a reader attaches; only one still missing then is lost.
const LOOK_FOR_LOST_MS = 1_000;

export interface ChatListener {
  /** Something is to be painted. */
  changed(): void;
  /** The list of sessions says something else by now. */
  listed(): void;
}

export class Chat {
  /** As the address names it; null before there is one. */
  session: string | null;
  conversation: Conversation = fresh;
  connection: Connection | null = null;
  /** When a broken connection came back, until the next question. */
  resumedAt: Date | null = null;
  choices: Choices = {};
  readonly #tab: string;
  readonly #outbox: Outbox;
  readonly #listener: ChatListener;
  #stream: SharedStream | null = null;
  #isBroken = false;
  #isAttached = false;
  #lookForLost: ReturnType<typeof setTimeout> | undefined;

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
    this.#attach(this.session);
  }

  /** Somebody else's, to be read along. */
  get isShared(): boolean {
    return this.session !== null && placeOf(this.session).share !== null;
  }

  close(): void {
    this.#stream?.close();
    this.#stream = null;
    this.connection = null;
    clearTimeout(this.#lookForLost);
  }

  wake(): void {
    this.#stream?.wake();
  }

  seen(): void {
    this.#stream?.seen();
  }

  get steps(): Step[] {
    return path(this.conversation.messages, this.choices);
  }

  ask(text: string): void {
    const steps = this.steps;
    const end = tip(steps);
    // Said only where it must be: the server knows by itself what the newest turn is, better than a page that lags.
    const newest = this.conversation.messages.reduce((most, { turn }) => Math.max(most, turn), 0);
    this.#add(text, end === newest ? {} : { parent: end });
  }

  /** Ask something else, or the same again, in the place of a turn. */
  askInstead(step: Pick<Step, 'turn' | 'parent'>, text: string): void {
    this.choose(step.parent, null);
    const isRunning = phase(this.conversation) !== 'idle';
    this.#add(text, { parent: step.parent, isBranch: true, ...(isRunning && { onBusy: 'interrupt' as const }) });
  }

  /** Follow another branch behind a turn; with null, the newest. */
  choose(parent: number, turn: number | null): void {
    const { [parent]: _, ...others } = this.choices;
    this.choices = turn === null ? others : { ...others, [parent]: turn };
    if (this.session !== null) tabStore.set(branchOf(this.session), this.choices);
    this.#listener.changed();
  }

  accepted({ session, turn, text, began }: Receipt): void {
    if (began?.insteadOf === this.session && session !== this.session) {
      // Its message is shown, but by this page alone: it is kept until the log says it too.
      this.#become(session, turn, text);
      return;
    }
    if (session !== this.session) return;
    // What is shown of a session that was gone is no log that could hold the message.
    if (this.connection?.kind === 'gone') this.#stream?.again();
    else this.#outbox.settle(session, this.conversation);
  }

  #add(text: string, wish: Parameters<Outbox['add']>[3]): void {
    this.resumedAt = null;
    this.#outbox.add(text, this.session, this.conversation, wish);
  }

  #become(session: string, turn: number, text: string): void {
    this.session = session;
    this.conversation = begun(turn, text);
    this.#attach(session);
  }

  #attach(session: string): void {
    this.#stream?.close();
    const stream: SharedStream = new SharedStream(session, this.#tab, {
      cursor: () => this.conversation.cursor,
      heard: (event) => stream === this.#stream && this.#heard(session, event),
      said: (connection) => stream === this.#stream && this.#connected(session, connection),
      known: () => this.conversation,
      adopt: (conversation) => stream === this.#stream && this.#adopt(session, conversation),
      isIdle: () => phase(this.conversation) === 'idle' && this.#outbox.of(session).length === 0,
    });
    this.#stream = stream;
    stream.open();
  }

  #connected(session: string, connection: Connection): void {
    this.connection = connection;
    // What a connection said that broke at once is no ground for repeating anything.
    clearTimeout(this.#lookForLost);
    const { kind } = connection;
    this.#isAttached = kind === 'live';
    if (kind === 'reconnecting' || kind === 'waiting') this.#isBroken = true;
    if (kind === 'live') this.#isBack();
    if (kind === 'gone') {
      // Should it be begun again, its ids will be those of another conversation.
      this.conversation = { ...this.conversation, cursor: null };
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
    // What is the same all the same came as a copy, and would be drawn anew.
    this.conversation =
      cursor !== null && cursor === conversation.cursor ? { ...conversation, messages } : conversation;
    this.#outbox.settle(session, conversation);
    // A tab that follows sees no attach; what its leader knows by now is as good as one.
    if (this.#isAttached) this.#afterAttach(session);
    this.#listener.changed();
  }

  #heard(session: string, event: SessionEvent): void {
    if (event.event === 'ping') return;
    if (event.event !== 'state' && event.event !== 'snapshot') {
      // A tab that joins in mid-answer hears pieces before it was told what they are pieces of; whoever tells it knows them.
      if (this.conversation.cursor === null) return;
      const where = place(this.conversation.cursor, event.id);
      if (where === 'seen') return;
      // The ids of two turns do not tell whether the end of the first was heard; without it there would be no second.
      if (where === 'hole' || (event.event === 'message' && phase(this.conversation) !== 'idle')) {
        this.#startOver();
        return;
      }
    }
    const before = this.conversation;
    this.conversation = take(before, event);
    this.#after(session, event, before);
    this.#listener.changed();
  }

  /** Without a cursor the server answers with the whole conversation. */
  #startOver(): void {
    this.conversation = { ...this.conversation, cursor: null };
    this.#stream?.startOver();
  }

  #after(session: string, { event }: SessionEvent, before: Conversation): void {
    // A `state` says as much: after it the log is known to hold what the page shows, see `begun`.
    if (event === 'snapshot' || event === 'message' || event === 'state') {
      this.#outbox.settle(session, this.conversation);
    }
    if (event === 'message') this.resumedAt = null;
    if (event === 'message' || event === 'end' || this.conversation.title !== before.title) this.#listener.listed();
    if (event === 'state' && this.#isAttached) this.#afterAttach(session);
  }

  #afterAttach(session: string): void {
    this.#isAttached = false;
    clearTimeout(this.#lookForLost);
    this.#lookForLost = setTimeout(() => this.#outbox.repeatUnknown(session, this.conversation), LOOK_FOR_LOST_MS);
  }
}

function branchOf(session: string): string {
  return `branch.${session}`;
}
