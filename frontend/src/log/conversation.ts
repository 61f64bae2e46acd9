// The page's state of one session: the messages, which fold.ts computes, and what belongs to them. Pure: `take` makes a
// new state from an old one and an event.

import { parts } from './cursor';
import { type Queued, type SessionEvent, type SessionState, isLogged } from './events';
import { fold, isReadable, type Messages, nothing, turnOf } from './fold';

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

/** The running answer broke off: attempt number `attempt` continues it, or began it again. */
export interface Takeover {
  readonly attempt: number;
  readonly began: 'again' | 'on';
  /** The model that answers now, if it is another one than before. */
  readonly model: string | null;
}

export interface Attempts {
  readonly count: number;
  /** The model of the last attempt; null if none began. */
  readonly model: string | null;
}

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
export function begun(turn: number, text: string): Conversation {
  const message = { turn, parent: turn - 1, role: 'user', text, end: null } as const;
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
      return { state, queued, title: title ?? '', model: model ?? before.model, attempts: named(before, model) };
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
    case 'end':
      return { attempts: counted(before, turnOf(event.id), event.data.usage?.attempts?.length ?? 0) };
    default:
      return {};
  }
}

/** A second `start` of a turn is another attempt. Without a `reset`, it continues the answer. */
function startedAgain(
  { takeover, cursor, attempts }: Conversation,
  { attempt, model }: { attempt: number; model: string },
  id: string | null,
): Takeover | null {
  const before = attempts[turnOf(id)]?.model ?? null;
  const other = before === null || before === model ? null : model;
  if (takeover?.attempt === attempt) return other === null ? takeover : { ...takeover, model: other };
  const [here, now] = [parts(cursor), parts(id)];
  const isSecond = here !== null && now !== null && here.turn === now.turn && here.seq > 0;
  return isSecond || attempt > 1 ? { attempt, began: 'on', model: other } : null;
}

/** `state` names the model that answered last. A reader who joined later has not seen its `start`. */
function named({ attempts, messages }: Conversation, model: string | null): Conversation['attempts'] {
  const last = messages.at(-1);
  if (model === null || last?.role !== 'assistant' || attempts[last.turn]?.model) return attempts;
  return { ...attempts, [last.turn]: { count: attempts[last.turn]?.count ?? 0, model } };
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
