// The page's state of one session: the messages, which fold.ts computes, and what belongs to them. Pure: `take` makes a
// new state from an old one and an event.

import { parts } from './cursor';
import { type Queued, type SessionEvent, type SessionState, isLogged } from './events';
import { fold, type Messages, nothing } from './fold';

export interface Conversation extends Messages {
  /** The id of the last snapshot or logged event, or null before the first. */
  readonly cursor: string | null;
  readonly state: SessionState;
  readonly queued: readonly Queued[];
  readonly title: string;
  readonly model: string | null;
  readonly takeover: Takeover | null;
}

/** The worker of the running turn was replaced: the answer continues, or it began again as attempt number `attempt`. */
export interface Takeover {
  readonly attempt: number;
  readonly began: 'again' | 'on';
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
});

/** A session that this page has just begun. Its message and that message's id are known, so no snapshot is needed. */
export function begun(turn: number, text: string): Conversation {
  const message = { turn, parent: turn - 1, role: 'user', text, end: null } as const;
  return { ...fresh, cursor: `${turn}.0-0`, messages: [message], state: 'queued' };
}

export function take(conversation: Conversation, event: SessionEvent): Conversation {
  const { messages } = fold(conversation, event);
  const cursor = isLogged(event.event) ? event.id : conversation.cursor;
  return { ...conversation, messages, cursor, ...around(conversation, event) };
}

function around(before: Conversation, event: SessionEvent): Partial<Conversation> {
  switch (event.event) {
    case 'snapshot':
      return { state: event.data.state, takeover: null };
    case 'state': {
      const { state, queued, title, model } = event.data;
      return { state, queued, title: title ?? '', model: model ?? before.model };
    }
    case 'message':
      // The next `state` event comes after this one. Until then the message would be shown twice, asked and queued.
      return { queued: without(before.queued, event.data.text), takeover: null };
    case 'start':
      return { model: event.data.model, state: 'streaming', takeover: replaced(before, event.data.attempt, event.id) };
    case 'reset':
      return { takeover: { attempt: event.data.attempt, began: 'again' } };
    default:
      return {};
  }
}

/** A second `start` of a turn comes from another worker. Without a `reset`, that worker continues the answer. */
function replaced({ takeover, cursor }: Conversation, attempt: number, id: string | null): Takeover | null {
  if (takeover !== null && takeover.attempt === attempt) return takeover;
  const [before, now] = [parts(cursor), parts(id)];
  const isSecond = before !== null && now !== null && before.turn === now.turn && before.seq > 0;
  return isSecond || attempt > 1 ? { attempt, began: 'on' } : null;
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
