// The page's state of one session: the messages, which fold.ts computes, and what belongs to them. Pure: `take` makes a
// new state from an old one and an event.

import { parts } from './cursor';
import { type Queued, type SessionEvent, type SessionState, isLogged } from './events';
import { type Messages, answerIn, fold, isReadable, nothing, turnOf } from './fold';

export interface Conversation extends Messages {
  /** The id of the last snapshot or logged event, or null before the first. */
  readonly cursor: string | null;
  readonly state: SessionState;
  readonly queued: readonly Queued[];
  readonly title: string;
  readonly model: string | null;
  readonly takeover: Takeover | null;
  /** What is known of the attempts of each turn. A snapshot has nothing about them. */
  readonly attempts: Readonly<Record<number, Attempts>>;
}

/**
 * Attempt number `attempt` of the running answer began: it goes on with the text, writes it again after a reset, or has
 * found no text.
 */
export interface Takeover {
  readonly attempt: number;
  readonly began: 'on' | 'again' | 'fresh';
  /** The model that answers now, if it is another one than before. */
  readonly model: string | null;
}

export interface Attempts {
  readonly count: number;
  /** The model of the last attempt; null if none began. */
  readonly model: string | null;
}

// A `state` does not tell the number of the attempt.
const FROM_STATE = 0;

export type Phase = 'idle' | 'queued' | 'streaming';

export const fresh: Conversation = Object.freeze({
  ...nothing,
  cursor: null,
  state: 'idle',
  queued: Object.freeze([]),
  title: '',
  model: null,
  takeover: null,
  attempts: Object.freeze({}),
});

/** A session that this page has just begun. Its message and that message's id are known, so no snapshot is needed. */
export function begun(turn: number, text: string, model?: string): Conversation {
  const message = { turn, parent: turn - 1, role: 'user', text, end: null, ...(model && { model }) } as const;
  return { ...fresh, cursor: `${turn}.0-0`, messages: [message], state: 'queued' };
}

export function take(conversation: Conversation, event: SessionEvent): Conversation {
  const { messages } = fold(conversation, event);
  const cursor = isLogged(event.event) ? event.id : conversation.cursor;
  return { ...conversation, messages, cursor, ...(isReadable(event) ? around(conversation, event) : {}) };
}

function around(before: Conversation, event: SessionEvent): Partial<Conversation> {
  switch (event.event) {
    case 'snapshot':
      return { state: event.data.state, takeover: null, attempts: {} };
    case 'state': {
      const { state, queued, title, model } = event.data;
      const attempts = named(before, state, model);
      const takeover = replaced(before, state, model);
      return { state, queued, title: title ?? '', model: model ?? before.model, attempts, takeover };
    }
    case 'message':
      // The next `state` event comes after this one. Until then the message would be shown twice, asked and queued.
      return { queued: without(before.queued, event.data.text), takeover: null };
    case 'start': {
      const { model, attempt } = event.data;
      const attempts = { ...before.attempts, [turnOf(event.id)]: { count: attempt, model } };
      return { model, state: 'streaming', takeover: startedAgain(before, event.data, event.id), attempts };
    }
    case 'reset':
      return { takeover: { attempt: event.data.attempt, began: 'again', model: null } };
    case 'end': {
      const attempts: unknown = event.data.usage?.attempts;
      return { attempts: counted(before, turnOf(event.id), Array.isArray(attempts) ? attempts.length : 0) };
    }
    default:
      return {};
  }
}

/** A second `start` of a turn is another attempt. Without a `reset`, it goes on with the text. */
function startedAgain(
  conversation: Conversation,
  { attempt, model }: { attempt: number; model: string },
  id: string | null,
): Takeover | null {
  const { takeover, cursor } = conversation;
  const turn = turnOf(id);
  const isTold = takeover?.attempt === FROM_STATE && takeover.model === model;
  const other = isTold || isUnexpected(conversation, turn, model) ? model : null;
  if (takeover?.attempt === attempt) return other === null ? takeover : { ...takeover, model: other };
  const [here, now] = [parts(cursor), parts(id)];
  const isSecond = here !== null && now !== null && here.turn === now.turn && here.seq > 0;
  const began = answerIn(conversation, turn)?.text ? 'on' : 'fresh';
  return isSecond || attempt > 1 || other !== null ? { attempt, began, model: other } : null;
}

/** Whether a model is another one than before in this turn, or than the one that the question names. */
function isUnexpected({ attempts, messages }: Conversation, turn: number, model: string): boolean {
  const question = messages.findLast((message) => message.turn === turn && message.role === 'user');
  const expected = attempts[turn]?.model ?? question?.model;
  return expected !== undefined && expected !== model;
}

/**
 * `state` names the model that answered last, which is that of the newest turn unless that one still waits. A reader who
 * joined later has not seen its `start`.
 */
function named(
  { attempts, messages }: Conversation,
  state: SessionState,
  model: string | null,
): Conversation['attempts'] {
  const last = messages.at(-1);
  const hasBegun = last?.role === 'assistant' || (last !== undefined && state === 'streaming');
  if (model === null || !hasBegun) return attempts;
  // A `start` is exact. An earlier `state` may be of an attempt before.
  const known = attempts[last.turn];
  if (known !== undefined && (known.count > 0 || known.model === model)) return attempts;
  return { ...attempts, [last.turn]: { count: 0, model } };
}

/** A `state` names the running answer's model, too, before its `start` or to a reader who joined after that. */
function replaced(conversation: Conversation, state: SessionState, model: string | null): Takeover | null {
  const turn = conversation.messages.at(-1)?.turn ?? 0;
  const isNews =
    state === 'streaming' &&
    model !== null &&
    !conversation.attempts[turn]?.count &&
    isUnexpected(conversation, turn, model);
  return isNews ? { attempt: FROM_STATE, began: 'fresh', model } : conversation.takeover;
}

function counted({ attempts }: Conversation, turn: number, count: number): Conversation['attempts'] {
  const { count: started, model } = attempts[turn] ?? { count: 0, model: null };
  return count > started ? { ...attempts, [turn]: { count, model } } : attempts;
}

function without(queued: readonly Queued[], text: string): readonly Queued[] {
  const at = queued.findIndex((waiting) => waiting.text === text);
  return at < 0 ? queued : queued.toSpliced(at, 1);
}

/** The phase follows from the log; `state` only distinguishes `queued` from `streaming`. */
export function phase({ messages, state }: Conversation): Phase {
  const last = messages.at(-1);
  if (last === undefined) return 'idle';
  if (last.role === 'assistant') return last.end === null ? 'streaming' : 'idle';
  return state === 'queued' ? 'queued' : 'streaming';
}

/** The newest turn in the log, 0 before the first. */
export function lastTurn({ messages }: Messages): number {
  return messages.at(-1)?.turn ?? 0;
}
