// The fold of docs/protocol.md 8.15: events become the conversation. It is pure, so that the golden transcripts of
// tests/transcripts can check that this fold and the Python one agree. An unchanged message keeps its identity, so that
// a view draws only the answer that grows. It never fails (8.17): an event that cannot be read changes nothing, except that
// an `end` closes its answer and a `reset` empties it.

import type { EndReason, Entry, SessionEvent, Tool } from './events';

export interface Messages {
  readonly messages: readonly Entry[];
}

export const nothing: Messages = Object.freeze({ messages: Object.freeze([]) });

const REASONS: ReadonlySet<unknown> = new Set<EndReason>(['stop', 'length', 'content_filter', 'stopped', 'error']);

type Fields = Record<string, unknown>;

/** Whether the data of an event can be read: an event is JSON from the network, whatever its type says. */
export function isReadable({ event, data }: { event: string; data: unknown }): boolean {
  if (!isObject(data)) return false;
  switch (event) {
    case 'snapshot':
      return Array.isArray(data.messages) && data.messages.every(isEntry);
    case 'message':
      return data.role === 'user' && isEntry(data);
    case 'delta':
    case 'reasoning':
      return typeof data.text === 'string';
    case 'tool':
      return areStrings(data.id, data.name, data.arguments ?? '', data.result ?? '');
    case 'end':
      return REASONS.has(data.reason) && (data.error === undefined || data.error === null || isFailure(data.error));
    case 'start':
      return Number.isInteger(data.attempt) && areStrings(data.model);
    case 'reset':
      return Number.isInteger(data.attempt);
    case 'state':
      return Array.isArray(data.queued) && areStrings(data.state);
    default:
      return true;
  }
}

function isEntry(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { turn, parent, role, text } = value;
  return Number.isInteger(turn) && Number.isInteger(parent) && areStrings(role, text);
}

function isFailure(value: unknown): boolean {
  return isObject(value) && areStrings(value.code, value.message);
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

function areStrings(...values: readonly unknown[]): boolean {
  return values.every((value) => typeof value === 'string');
}

export function fold(state: Messages, event: SessionEvent): Messages {
  // What a `reset` and an `end` do is in their type.
  if (!isReadable(event) && event.event !== 'reset') {
    return event.event === 'end' ? answered(state, event.id, (answer) => ({ ...answer, end: 'error' })) : state;
  }
  switch (event.event) {
    case 'snapshot':
      return { messages: event.data.messages };
    case 'message': {
      const { turn, parent, role, text, model } = event.data;
      const question = { turn, parent, role, text, end: null };
      return { messages: [...state.messages, model === undefined ? question : { ...question, model }] };
    }
    case 'delta':
      return answered(state, event.id, (answer) => ({ ...answer, text: answer.text + event.data.text }));
    case 'reasoning':
      return answered(state, event.id, (answer) => ({
        ...answer,
        reasoning: (answer.reasoning ?? '') + event.data.text,
      }));
    case 'tool':
      return answered(state, event.id, (answer) => ({ ...answer, tools: merged(answer.tools ?? [], event.data) }));
    case 'reset':
      // A turn without an answer has nothing to reset. An empty answer made here would look like one that has begun.
      return answerIn(state, turnOf(event.id)) === undefined ? state : answered(state, event.id, emptied);
    case 'end': {
      const { reason, error } = event.data;
      return answered(state, event.id, (answer) =>
        error ? { ...answer, end: reason, error } : { ...answer, end: reason },
      );
    }
    default:
      return state;
  }
}

function emptied({ turn, parent, role }: Entry): Entry {
  return { turn, parent, role, text: '', end: null };
}

/** A tool has an event when it is called and one with its result; both have the same id and make one row. */
function merged(tools: readonly Tool[], news: Tool): readonly Tool[] {
  const at = tools.findIndex((tool) => tool.id === news.id);
  return at < 0 ? [...tools, news] : tools.with(at, { ...tools[at], ...news });
}

function answered(state: Messages, id: string | null, change: (answer: Entry) => Entry): Messages {
  const turn = turnOf(id);
  const at = answerOf(state, turn);
  const found = state.messages[at];
  if (found === undefined) return { messages: [...state.messages, change(begun(state, turn))] };
  return { messages: state.messages.with(at, change(found)) };
}

function begun(state: Messages, turn: number): Entry {
  const question = state.messages.findLast((message) => message.turn === turn);
  return { turn, parent: question?.parent ?? turn - 1, role: 'assistant', text: '', end: null };
}

function answerOf(state: Messages, turn: number): number {
  return state.messages.findLastIndex((message) => message.turn === turn && message.role === 'assistant');
}

/** The answer of a turn, if it has one. */
export function answerIn(state: Messages, turn: number): Entry | undefined {
  return state.messages[answerOf(state, turn)];
}

/** The turn that an event's id names. */
export function turnOf(id: string | null): number {
  return Number.parseInt(id ?? '', 10);
}
