// Requests to the server, and its refusals by their codes (docs/protocol.md, section 2).

import type { SessionState } from '../log/events';
import { placeOf } from './address';

const PATIENCE_MS = 30_000;

/** Why not, as the server or the network said it. */
export interface Reason {
  status: number;
  code: string;
  message: string;
}

/**
 * The server said no, or said nothing. `status` is 0 where no answer came; then the request may have been obeyed.
 * `code` is the server's own, or `unreachable`, `slow`, `broken`, or `status` where something else than our server answered.
 */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** The same without what only this tab can use: to be kept, or told to another tab. */
  get reason(): Reason {
    const { status, code, message } = this;
    return { status, code, message };
  }

  /** Nothing is wrong with the request; the same may do later. */
  get isPassing(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

export type OnBusy = 'queue' | 'interrupt';

export interface Ask {
  text: string;
  /** The turn that this follows; left out, the newest. */
  parent?: number;
  on_busy?: OnBusy;
}

export interface Listed {
  session_id: string;
  title: string;
  state: SessionState;
  /** The newest turn in the log. */
  turn: number;
  /** Milliseconds since 1970. */
  updated: number;
}

/** `name` is the session's as the page's address has it, a shared one's too. */
export function eventsUrl(name: string, cursor: string | null): string {
  const { session, share } = placeOf(name);
  return `${sessionPath(session)}/events${query({ share, last_event_id: cursor })}`;
}

/** Ask, in a session or, with null, in a new one. The same key with the same body may be sent any number of times and asks once. */
export async function ask(session: string | null, body: Ask, key: string): Promise<{ session: string; turn: number }> {
  const path = session === null ? '/sessions' : `${sessionPath(session)}/messages`;
  const { session_id: id, turn } = await send('POST', path, body, { 'Idempotency-Key': key });
  // A network that wants a login answers 200 to everything: a message is not sent because something was said.
  if (typeof id !== 'string' || typeof turn !== 'number') throw broken();
  return { session: id, turn };
}

/** Resolves with the end that the log holds, or with null where none was observed yet. */
export async function stop(session: string): Promise<string | null> {
  return (await send('POST', `${sessionPath(session)}/stop`, {}))['reason'] as string | null;
}

export async function rename(session: string, title: string): Promise<void> {
  await send('PATCH', sessionPath(session), { title });
}

export async function remove(session: string): Promise<void> {
  await request(sessionPath(session), { method: 'DELETE' });
}

export async function mine(): Promise<Listed[]> {
  const { sessions } = await read(await request('/sessions'));
  if (!Array.isArray(sessions)) throw broken();
  return sessions as Listed[];
}

/** Let whoever has what this gives read along. The same is given until it is taken back. */
export async function share(session: string): Promise<string> {
  const { share: capability } = await send('POST', `${sessionPath(session)}/share`, {});
  if (typeof capability !== 'string') throw broken();
  return capability;
}

export async function unshare(session: string): Promise<void> {
  await request(`${sessionPath(session)}/share`, { method: 'DELETE' });
}

/** What keeps a session from being read, or null. Only a 404 says that there is none; silence and trouble prove nothing. */
export async function obstacle(name: string): Promise<Refusal | null> {
  const { session, share: capability } = placeOf(name);
  try {
    const response = await request(sessionPath(session) + query({ share: capability }));
    await response.body?.cancel();
    return null;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** A new idempotency key. `crypto.randomUUID` is missing where the page comes over plain HTTP from another machine. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function query(parts: Record<string, string | null>): string {
  const said = Object.entries(parts).filter((part): part is [string, string] => part[1] !== null);
  return said.length === 0 ? '' : `?${new URLSearchParams(said)}`;
}

function sessionPath(session: string): string {
  // Dots alone are steps in a path to a browser, however they are written, and would lead to another route. No session has such an id.
  return `/sessions/${/^\.\.?$/.test(session) ? '-' : encodeURIComponent(session)}`;
}

type Reply = Record<string, unknown>;

async function send(method: string, path: string, body: object, headers: Record<string, string> = {}): Promise<Reply> {
  const options = { method, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) };
  return read(await request(path, options));
}

async function request(path: string, options: RequestInit = {}): Promise<Response> {
  const response = await answerTo(path, options);
  if (!response.ok) throw await refusal(response);
  return response;
}

async function answerTo(path: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    const isSlow = error instanceof DOMException && error.name === 'TimeoutError';
    throw new Refusal(
      0,
      isSlow ? 'slow' : 'unreachable',
      isSlow ? 'The server did not answer in time.' : 'The server cannot be reached.',
    );
  }
}

async function read(response: Response): Promise<Reply> {
  const reply: unknown = await response.json().catch(() => null);
  if (typeof reply !== 'object' || reply === null) throw broken();
  return reply as Reply;
}

function broken(): Refusal {
  return new Refusal(0, 'broken', 'The connection broke before the answer was read.');
}

async function refusal(response: Response): Promise<Refusal> {
  const { status } = response;
  const body = (await response.json().catch(() => null)) as { error?: { code?: unknown; message?: unknown } } | null;
  const { code, message } = body?.error ?? {};
  if (typeof code === 'string' && typeof message === 'string') return new Refusal(status, code, message);
  // Not our server's own words: a proxy in front of it.
  return new Refusal(status, 'status', `The server answered ${status}.`);
}
