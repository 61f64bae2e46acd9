// Requests to the server, and the refusals with their codes (docs/protocol.md, section 2).

import type { SessionState } from '../log/events';
import { parseAddress } from './address';

const TIMEOUT_MS = 30_000;

/** Why a request failed. */
export interface Reason {
  status: number;
  code: string;
  message: string;
}

/**
 * A request that failed. `status` is 0 if no answer arrived; the server may have processed the request all the same.
 * `code` is the server's; or `unreachable`, `slow` or `broken`; or `status` if something else than our server answered.
 */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** The refusal as plain data, which can be stored or sent to another tab. */
  get reason(): Reason {
    const { status, code, message } = this;
    return { status, code, message };
  }

  /** Whether the same request may succeed later. */
  get isPassing(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

export type OnBusy = 'queue' | 'interrupt';

export interface Ask {
  text: string;
  /** The turn that this message follows; the newest if it is left out. */
  parent?: number;
  on_busy?: OnBusy;
  /** The name of a model; the server's default if it is left out. */
  model?: string;
}

/** A model that the server offers. */
export interface Offered {
  name: string;
  default: boolean;
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

/** `name` is a session as the page's address names it (address.ts). */
export function eventsUrl(name: string, cursor: string | null): string {
  const { session, share } = parseAddress(name);
  return `${sessionPath(session)}/events${query({ share, last_event_id: cursor })}`;
}

/**
 * Sends a message to a session, or with null to a new one. The key makes it idempotent: the same key with the same body
 * can be sent any number of times and asks once.
 */
export async function ask(session: string | null, body: Ask, key: string): Promise<{ session: string; turn: number }> {
  const path = session === null ? '/sessions' : `${sessionPath(session)}/messages`;
  const { session_id: id, turn } = await send('POST', path, body, { 'Idempotency-Key': key });
  // A captive portal answers 200 to everything, so a 200 alone does not prove that the message was accepted.
  if (typeof id !== 'string' || typeof turn !== 'number') throw broken();
  return { session: id, turn };
}

/** Stops the running turn. Resolves with the reason of its end, or with null if no end was observed yet. */
export async function stop(session: string): Promise<string | null> {
  return (await send('POST', `${sessionPath(session)}/stop`, {}))['reason'] as string | null;
}

export async function rename(session: string, title: string): Promise<void> {
  await send('PATCH', sessionPath(session), { title });
}

export async function remove(session: string): Promise<void> {
  await request(sessionPath(session), { method: 'DELETE' });
}

export async function listSessions(): Promise<Listed[]> {
  const { sessions } = await read(await request('/sessions'));
  if (!Array.isArray(sessions)) throw broken();
  return sessions as Listed[];
}

export async function listModels(): Promise<Offered[]> {
  const { models } = await read(await request('/models'));
  if (!Array.isArray(models)) throw broken();
  return (models as (Partial<Offered> | null)[]).flatMap((model) =>
    typeof model?.name === 'string' ? [{ name: model.name, default: model.default === true }] : [],
  );
}

/** Returns the capability that lets others read the session. It stays the same until `unshare`. */
export async function share(session: string): Promise<string> {
  const { share: capability } = await send('POST', `${sessionPath(session)}/share`, {});
  if (typeof capability !== 'string') throw broken();
  return capability;
}

export async function unshare(session: string): Promise<void> {
  await request(`${sessionPath(session)}/share`, { method: 'DELETE' });
}

/** The refusal that keeps a session from being read, or null. Only a 404 means that the session does not exist. */
export async function accessRefusal(name: string): Promise<Refusal | null> {
  const { session, share: capability } = parseAddress(name);
  try {
    const response = await request(sessionPath(session) + query({ share: capability }));
    await response.body?.cancel();
    return null;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** A new idempotency key. `crypto.randomUUID` is undefined on a page that was loaded over plain HTTP. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function query(parts: Record<string, string | null>): string {
  const given = Object.entries(parts).filter((part): part is [string, string] => part[1] !== null);
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
}

function sessionPath(session: string): string {
  // A browser resolves the path segments `.` and `..`, percent-encoded ones too, which would lead to another route. No
  // session has such an id.
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
    return await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
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
  // The body is not our server's, so a proxy in front of it answered.
  return new Refusal(status, 'status', `The server answered ${status}.`);
}
