import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Sessions } from '../src/sessions';
import type { Listed } from '../src/transport/api';
import { taken } from './support/posts';

interface Request {
  method: string;
  answer: (status: number, body: object | null) => Promise<void>;
}

let requests: Request[];
let sessions: Sessions;
let changes: number;
let visibility: DocumentVisibilityState;

beforeEach(() => {
  vi.useFakeTimers();
  localStorage.clear();
  [requests, changes, visibility] = [[], 0, 'visible'];
  vi.spyOn(document, 'visibilityState', 'get').mockImplementation(() => visibility);
  vi.stubGlobal(
    'fetch',
    (_: string, { method = 'GET' }: RequestInit) =>
      new Promise<Response>((resolve) => {
        requests.push({
          method,
          answer: async (status, body) => {
            resolve(new Response(body === null ? null : JSON.stringify(body), { status }));
            await taken();
          },
        });
      }),
  );
  sessions = new Sessions(() => {
    changes += 1;
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function listed(session: string, change: Partial<Listed> = {}): Listed {
  return { session_id: session, title: session, state: 'idle', turn: 1, updated: 0, ...change };
}

const titles = () => sessions.listed.map(({ title }) => title);

async function loaded(...all: Listed[]): Promise<void> {
  sessions.refresh();
  vi.advanceTimersByTime(200);
  await requests.at(-1)!.answer(200, { sessions: all });
}

describe('the list', () => {
  test('is requested once for several refreshes at a time', async () => {
    for (let reason = 0; reason < 5; reason += 1) {
      sessions.refresh();
      vi.advanceTimersByTime(150);
    }
    expect(requests).toHaveLength(0);
    vi.advanceTimersByTime(50);
    expect(requests).toHaveLength(1);
    await requests[0]!.answer(200, { sessions: [listed('one')] });
    expect([titles(), sessions.isLoaded, changes]).toStrictEqual([['one'], true, 1]);
  });

  test('is the newest, even if its answer is not the last', async () => {
    for (let time = 0; time < 2; time += 1) {
      sessions.refresh();
      vi.advanceTimersByTime(200);
    }
    const [early, late] = requests as [Request, Request];
    await late.answer(200, { sessions: [listed('new')] });
    await early.answer(200, { sessions: [listed('old')] });
    expect(titles()).toStrictEqual(['new']);
  });

  test('stays if a later request fails, and shows the failure until one succeeds', async () => {
    await loaded(listed('one'));
    sessions.refresh();
    vi.advanceTimersByTime(200);
    await requests.at(-1)!.answer(503, { error: { code: 'store_unavailable', message: 'Later.' } });
    expect([titles(), sessions.failure?.code]).toStrictEqual([['one'], 'store_unavailable']);
    await loaded(listed('one'));
    expect(sessions.failure).toBeNull();
  });

  test.each([
    ['no turn runs', 'idle', 30_000],
    ['a turn runs', 'streaming', 3_000],
    ['a turn is queued', 'queued', 3_000],
  ] as const)('is polled again if %s', async (_, state, after) => {
    await loaded(listed('one', { state }));
    vi.advanceTimersByTime(after - 1);
    expect(requests).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(requests).toHaveLength(2);
  });

  test('is polled after a failure, too', async () => {
    sessions.refresh();
    vi.advanceTimersByTime(200);
    await requests[0]!.answer(503, { error: { code: 'draining', message: 'Later.' } });
    vi.advanceTimersByTime(30_000);
    expect(requests).toHaveLength(2);
  });

  test('is not polled while the page is hidden', async () => {
    visibility = 'hidden';
    await loaded(listed('one', { state: 'streaming' }));
    vi.advanceTimersByTime(600_000);
    expect(requests).toHaveLength(1);
  });
});

describe('a new answer', () => {
  test('is marked until it is seen', async () => {
    await loaded(listed('one'), listed('two'));
    await loaded(listed('one', { turn: 2 }), listed('two'));
    expect([...sessions.unread]).toStrictEqual(['one']);
    sessions.seen('two', 'idle', 1);
    expect([...sessions.unread]).toStrictEqual(['one']);
    sessions.seen('one', 'idle', 2);
    expect([...sessions.unread]).toStrictEqual([]);
  });

  test('stays marked while the page has only the answers before it', async () => {
    await loaded(listed('one', { turn: 2, state: 'streaming' }));
    await loaded(listed('one', { turn: 2 }));
    sessions.seen('one', 'streaming', 2);
    expect([...sessions.unread]).toStrictEqual(['one']);
  });
});

describe('a session', () => {
  test('that is renamed has its title at once', async () => {
    await loaded(listed('one'), listed('two'));
    const renaming = sessions.rename('two', 'Rivers');
    await requests.at(-1)!.answer(200, { session_id: 'two', title: 'Rivers' });
    await renaming;
    expect(titles()).toStrictEqual(['one', 'Rivers']);
    vi.advanceTimersByTime(200);
    expect(requests.at(-1)!.method).toBe('GET');
  });

  test('keeps its title if the server refuses the new one', async () => {
    await loaded(listed('one'));
    // oxlint-disable-next-line vitest/valid-expect -- awaited below, after the server has answered
    const renaming = expect(sessions.rename('one', '')).rejects.toMatchObject({ code: 'invalid_body' });
    await requests.at(-1)!.answer(422, { error: { code: 'invalid_body', message: 'No title.' } });
    await renaming;
    expect(titles()).toStrictEqual(['one']);
  });

  test.each([
    [204, null],
    [404, { error: { code: 'not_found', message: 'Gone.' } }],
  ])('that is removed is gone after a %i', async (status, body) => {
    await loaded(listed('one'), listed('two'));
    const removing = sessions.remove('one');
    await requests.at(-1)!.answer(status, body);
    await removing;
    expect(titles()).toStrictEqual(['two']);
  });

  test('that could not be removed stays', async () => {
    await loaded(listed('one'));
    // oxlint-disable-next-line vitest/valid-expect -- awaited below, after the server has answered
    const removing = expect(sessions.remove('one')).rejects.toMatchObject({ code: 'store_unavailable' });
    await requests.at(-1)!.answer(503, { error: { code: 'store_unavailable', message: 'Later.' } });
    await removing;
    expect(titles()).toStrictEqual(['one']);
  });

  test('that was removed does not return with an older list', async () => {
    await loaded(listed('one'), listed('two'));
    sessions.refresh();
    vi.advanceTimersByTime(200);
    const early = requests.at(-1)!;
    const removing = sessions.remove('one');
    await requests.at(-1)!.answer(204, null);
    await removing;
    await early.answer(200, { sessions: [listed('one'), listed('two')] });
    expect(titles()).toStrictEqual(['two']);
  });
});
