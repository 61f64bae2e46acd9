// All that the page knows of one session. The messages are the fold's; the rest is what stands around them.

import { fold, nothing } from './fold.js';

export const fresh = Object.freeze({
  ...nothing,
  cursor: null,
  state: 'idle',
  queued: Object.freeze([]),
  title: '',
  model: null,
  attempt: 1,
});

/** A session that this page has just begun. Its message is known, and so is that message's id: no need for a snapshot. */
export function begun(turn, text) {
  const message = { turn, parent: turn - 1, role: 'user', text, end: null };
  return { ...fresh, cursor: `${turn}.0-0`, messages: [message], state: 'queued' };
}

export const LOGGED = new Set(['snapshot', 'message', 'start', 'delta', 'reasoning', 'tool', 'reset', 'end']);

export function take(conversation, event) {
  const { messages } = fold(conversation, event);
  const cursor = LOGGED.has(event.event) ? event.id : conversation.cursor;
  return { ...conversation, messages, cursor, ...around(conversation, event) };
}

function around(conversation, { event, data }) {
  switch (event) {
    case 'snapshot':
      return { state: data.state, attempt: 1 };
    case 'state':
      return { state: data.state, queued: data.queued, title: data.title ?? '', model: data.model ?? conversation.model };
    case 'message':
      // The new `state` comes after this; until then the message would stand twice, asked and still waiting.
      return { queued: without(conversation.queued, data.text), attempt: 1 };
    case 'start':
      return { model: data.model, attempt: data.attempt, state: 'streaming' };
    case 'reset':
      return { attempt: data.attempt };
    default:
      return {};
  }
}

function without(queued, text) {
  const at = queued.findIndex((waiting) => waiting.text === text);
  return at < 0 ? queued : queued.toSpliced(at, 1);
}

/** `idle`, `queued` or `streaming`. Read off the log, which is the truth; `state` only tells the last two apart. */
export function phase({ messages, state }) {
  const last = messages.at(-1);
  if (last === undefined) return 'idle';
  if (last.role === 'assistant') return last.end === null ? 'streaming' : 'idle';
  return state === 'queued' ? 'queued' : 'streaming';
}

export function lastTurn({ messages }) {
  return messages.at(-1)?.turn ?? 0;
}
