// The events of a session as they are sent (docs/protocol.md, section 8), and the content of a snapshot.

export type EndReason = 'stop' | 'length' | 'content_filter' | 'stopped' | 'error';
export type SessionState = 'idle' | 'queued' | 'streaming';

export interface Failure {
  code: string;
  message: string;
  retryable: boolean;
}

export interface Tool {
  id: string;
  name: string;
  arguments?: string;
  result?: string;
}

/** One message of the conversation. `end` is null for a question, and for an answer that still grows. */
export interface Entry {
  turn: number;
  parent: number;
  role: 'user' | 'assistant';
  text: string;
  end: EndReason | null;
  error?: Failure;
  reasoning?: string;
  tools?: readonly Tool[];
  /** The model that a question asked for. */
  model?: string;
}

export interface Queued {
  key: string | null;
  text: string;
  stopped?: boolean;
}

interface Usage {
  input_tokens: number;
  output_tokens: number;
  source: 'reported' | 'estimated';
  /** What each attempt used, if there was more than one. */
  attempts?: readonly unknown[];
}

interface Payloads {
  snapshot: { session_id: string; state: SessionState; messages: readonly Entry[] };
  message: { role: 'user'; text: string; turn: number; parent: number; model?: string };
  start: { turn: number; attempt: number; model: string };
  delta: { text: string };
  reasoning: { text: string };
  tool: Tool;
  reset: { attempt: number; why: string };
  end: { reason: EndReason; usage?: Usage | null; error?: Failure | null };
  state: { state: SessionState; turn: number; queued: readonly Queued[]; title: string | null; model: string | null };
  ping: Record<string, never>;
}

export type EventName = keyof Payloads;

/** `id` is null for an event that is not logged (`state`, `ping`). */
export type SessionEvent = { [Name in EventName]: { event: Name; id: string | null; data: Payloads[Name] } }[EventName];

// An EventSource needs a listener for each name.
export const EVENT_NAMES: readonly EventName[] = [
  'snapshot',
  'message',
  'start',
  'delta',
  'reasoning',
  'tool',
  'reset',
  'end',
  'state',
  'ping',
];

const UNLOGGED: ReadonlySet<EventName> = new Set(['state', 'ping']);

/** Whether an event is logged, so that a reader can resume from its id. */
export function isLogged(name: EventName): boolean {
  return !UNLOGGED.has(name);
}
