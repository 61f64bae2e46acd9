// Requests to the server, and its refusals as sentences.

const PATIENCE_MS = 30_000;

/** The server said no, or said nothing. `status` is 0 where no answer came; then the request may have been obeyed. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Nothing is wrong with the request; the same may do later. */
  get isPassing() {
    return this.status === 0 || this.status >= 500;
  }
}

export const ASK_PATH = '/sessions';
export const messagesPath = (session) => `${sessionPath(session)}/messages`;

export function eventsUrl(session, cursor) {
  const url = `${sessionPath(session)}/events`;
  return cursor === null ? url : `${url}?last_event_id=${encodeURIComponent(cursor)}`;
}

/** POST a message. The same key with the same text may be sent any number of times and asks once. */
export async function submit(path, text, key) {
  const response = await request(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body: JSON.stringify({ text }),
  });
  return read(response);
}

export async function mySessions() {
  return (await read(await request('/sessions'))).sessions;
}

/** False only where the server says that there is no such session; silence and trouble prove nothing. */
export async function mayExist(session) {
  try {
    const response = await request(sessionPath(session));
    await response.body?.cancel();
    return true;
  } catch (error) {
    return !(error instanceof Refusal && error.status === 404);
  }
}

/** A new idempotency key. `crypto.randomUUID` is missing where the page comes over plain HTTP from another machine. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function sessionPath(session) {
  return `/sessions/${encodeURIComponent(session)}`;
}

async function request(path, options = {}) {
  const response = await answerTo(path, options);
  if (!response.ok) throw new Refusal(response.status, await reason(response));
  return response;
}

async function answerTo(path, options) {
  try {
    return await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    const slow = error.name === 'TimeoutError';
    throw new Refusal(0, slow ? 'the server did not answer in time.' : 'the server cannot be reached.');
  }
}

async function read(response) {
  try {
    return await response.json();
  } catch {
    throw new Refusal(0, 'the connection broke before the answer was read.');
  }
}

async function reason(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    // Not our server's own words: a proxy in front of it.
    return `the server answered ${response.status}.`;
  }
}
