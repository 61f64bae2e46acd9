import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import {
  Refusal,
  ask,
  eventsUrl,
  listModels,
  listSessions,
  newKey,
  accessRefusal,
  remove,
  rename,
  stop,
} from '../../src/transport/api';

const fetched = vi.fn<(path: string, options: RequestInit) => Promise<Response>>();

beforeEach(() => {
  fetched.mockReset();
  vi.stubGlobal('fetch', fetched);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function answers(status: number, body: string | object | null): void {
  const text = typeof body === 'object' && body !== null ? JSON.stringify(body) : body;
  fetched.mockImplementation(async () => new Response(text, { status }));
}

async function refused(doing: Promise<unknown>): Promise<Pick<Refusal, 'status' | 'code' | 'message' | 'isPassing'>> {
  const error = await doing.then(
    () => 'it was not refused',
    (reason: unknown) => reason,
  );
  if (!(error instanceof Refusal)) throw error;
  const { status, code, message, isPassing } = error;
  return { status, code, message, isPassing };
}

/** The last request, as the server would read it. */
function sent(): { path: string; method: string; body: unknown; headers: Headers } {
  const [path, { method = 'GET', body, headers }] = fetched.mock.lastCall!;
  return {
    path,
    method,
    body: typeof body === 'string' ? (JSON.parse(body) as unknown) : null,
    headers: new Headers(headers),
  };
}

describe('asking', () => {
  const receipt = { session_id: 's?1', turn: 3, events_url: '/sessions/s%3F1/events' };

  test('begins a session if none is given', async () => {
    answers(202, receipt);
    expect(await ask(null, { text: 'Well?' }, 'k1')).toStrictEqual({ session: 's?1', turn: 3 });
    expect(sent()).toMatchObject({ path: '/sessions', method: 'POST', body: { text: 'Well?' } });
  });

  test('sends JSON with its key to a given session', async () => {
    answers(202, receipt);
    await ask('s?1', { text: 'Well?', parent: 2, on_busy: 'interrupt' }, 'k1');
    const { path, body, headers } = sent();
    expect({ path, body }).toStrictEqual({
      path: '/sessions/s%3F1/messages',
      body: { text: 'Well?', parent: 2, on_busy: 'interrupt' },
    });
    expect(headers.get('idempotency-key')).toBe('k1');
    expect(headers.get('content-type')).toBe('application/json');
  });

  test.each<[string, unknown]>([
    ['a page of somebody else', '<html>Please log in</html>'],
    ['nothing', null],
    ['half a document', '{"session_id": "s'],
    ['JSON that is no receipt', { status: 'ok' }],
    ['JSON that is no object', 'null'],
  ])('fails if the answer is %s', async (_, body) => {
    answers(202, body as string);
    expect(await refused(ask('s', { text: 'Well?' }, 'k'))).toMatchObject({
      status: 0,
      code: 'broken',
      isPassing: true,
    });
  });
});

describe('a refusal', () => {
  test.each([
    [404, 'not_found', false],
    [422, 'idempotency_mismatch', false],
    [429, 'queue_full', false],
    [500, 'internal', true],
    [503, 'store_unavailable', true],
  ])('%i %s has the server’s code and message', async (status, code, isPassing) => {
    answers(status, { error: { code, message: 'Do this.' } });
    expect(await refused(ask(null, { text: 'Well?' }, 'k'))).toStrictEqual({
      status,
      code,
      message: 'Do this.',
      isPassing,
    });
  });

  test.each<[string, unknown]>([
    ['a page', '<html><h1>502 Bad Gateway</h1></html>'],
    ['nothing', null],
    ['JSON of its own', { error: 'bad gateway' }],
    ['JSON without an error', { message: 'bad gateway' }],
    ['JSON without words', { error: {} }],
    ['a bare word', '"no"'],
  ])('of a proxy that sends %s has the code `status`', async (_, body) => {
    answers(502, body as string);
    expect(await refused(listSessions())).toStrictEqual({
      status: 502,
      code: 'status',
      message: 'The server answered 502.',
      isPassing: true,
    });
  });
});

describe('without an answer', () => {
  test('the server cannot be reached', async () => {
    fetched.mockRejectedValue(new TypeError('Failed to fetch'));
    expect(await refused(stop('s'))).toMatchObject({ status: 0, code: 'unreachable', isPassing: true });
  });

  test('the request times out after 30 s', async () => {
    const timer = new AbortController();
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(timer.signal);
    fetched.mockImplementation(
      (_, { signal }) =>
        new Promise((__, reject) => {
          signal!.addEventListener('abort', () => reject(signal!.reason as Error));
        }),
    );
    const stopping = refused(stop('s'));
    expect(timeout).toHaveBeenCalledExactlyOnceWith(30_000);
    timer.abort(new DOMException('The operation timed out.', 'TimeoutError'));
    expect(await stopping).toMatchObject({ status: 0, code: 'slow', isPassing: true });
  });

  test('a truncated answer has the status 0, since the request may have been processed', async () => {
    fetched.mockResolvedValue(
      new Response(new ReadableStream({ pull: (body) => body.error(new TypeError('network error')) }), { status: 200 }),
    );
    expect(await refused(listSessions())).toMatchObject({ status: 0, code: 'broken' });
  });
});

describe('requests to a session', () => {
  test('a stop returns the reason of the end, or null', async () => {
    answers(200, { session_id: 's', turn: 1, reason: 'stopped' });
    expect(await stop('s')).toBe('stopped');
    expect(sent()).toMatchObject({ path: '/sessions/s/stop', method: 'POST', body: {} });
    answers(202, { session_id: 's', turn: 1, reason: null });
    expect(await stop('s')).toBeNull();
  });

  test('a rename sends the new title', async () => {
    answers(200, { session_id: 's', title: 'Streams' });
    await rename('s', 'Streams');
    expect(sent()).toMatchObject({ path: '/sessions/s', method: 'PATCH', body: { title: 'Streams' } });
  });

  test('a removal accepts an answer without a body', async () => {
    answers(204, null);
    await expect(remove('s')).resolves.toBeUndefined();
    expect(sent()).toMatchObject({ path: '/sessions/s', method: 'DELETE' });
  });

  test('the list is the server’s', async () => {
    const listed = [{ session_id: 's', title: 'Streams', state: 'idle', turn: 1, updated: 1 }];
    answers(200, { sessions: listed });
    expect(await listSessions()).toStrictEqual(listed);
  });

  test('lists the models, and passes over what is none', async () => {
    const models = [{ name: 'alpha', default: true, more: 1 }, { name: 'beta' }, null, { name: 7 }];
    answers(200, { models });
    expect(await listModels()).toStrictEqual([
      { name: 'alpha', default: true },
      { name: 'beta', default: false },
    ]);
    expect(sent()).toMatchObject({ path: '/models', method: 'GET' });
    answers(200, {});
    expect(await refused(listModels())).toMatchObject({ status: 0, code: 'broken' });
  });
});

describe('the refusal that keeps a session from being read', () => {
  test('is null if the session exists', async () => {
    answers(200, {});
    expect(await accessRefusal('s')).toBeNull();
  });

  test.each([404, 401, 413, 429, 500, 502, 503])('has the status %i', async (status) => {
    answers(status, { error: { code: 'x', message: 'Not so.' } });
    expect((await accessRefusal('s'))?.reason).toStrictEqual({ status, code: 'x', message: 'Not so.' });
  });

  test('has the status 0 if the server cannot be reached', async () => {
    fetched.mockRejectedValue(new TypeError('Failed to fetch'));
    expect((await accessRefusal('s'))?.status).toBe(0);
  });
});

test('the URL of events carries the cursor, since a reload sends no header', () => {
  expect(eventsUrl('s?1', null)).toBe('/sessions/s%3F1/events');
  expect(eventsUrl('s', '1.2-3')).toBe('/sessions/s/events?last_event_id=1.2-3');
  expect(eventsUrl('s', '1&2')).toBe('/sessions/s/events?last_event_id=1%262');
});

test('keys are unique and valid (docs/protocol.md 2.1)', () => {
  const keys = Array.from({ length: 1_000 }, newKey);
  expect(new Set(keys).size).toBe(keys.length);
  for (const key of keys) expect(key).toMatch(/^[\x21-\x7e]{1,255}$/);
});
