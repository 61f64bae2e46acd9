import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import type { SessionEvent } from '../../src/log/events';
import { type Connection, Stream } from '../../src/transport/stream';
import { FakeEventSource } from '../support/eventSource';

const ping: SessionEvent = { event: 'ping', id: null, data: {} };
const delta: SessionEvent = { event: 'delta', id: '1.1-2', data: { text: 'word ' } };
const state: SessionEvent = {
  event: 'state',
  id: null,
  data: { state: 'idle', turn: 1, queued: [], title: null, model: null },
};

let cursor: string | null;
let connections: Connection[];
let events: SessionEvent[];
let stream: Stream;
let status: number;
let luck: number;

beforeEach(() => {
  vi.useFakeTimers();
  FakeEventSource.all = [];
  vi.stubGlobal('EventSource', FakeEventSource);
  vi.stubGlobal(
    'fetch',
    vi.fn(async () => new Response('{}', { status })),
  );
  vi.spyOn(Math, 'random').mockImplementation(() => luck);
  [cursor, connections, events, status, luck] = [null, [], [], 503, 0.999];
  stream = new Stream('s', {
    cursor: () => cursor,
    onEvent: (event) => events.push(event),
    onConnection: (connection) => connections.push(connection),
  });
  stream.open();
});
afterEach(() => {
  stream.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const kinds = () => connections.map(({ kind }) => kind);
/** Lets the server answer the request that follows a refused connection. */
const asked = () => vi.advanceTimersByTimeAsync(0);

describe('a stream without errors', () => {
  test('is connecting, then live, and passes its events on', () => {
    FakeEventSource.last.opens();
    FakeEventSource.last.says(delta);
    expect(kinds()).toStrictEqual(['connecting', 'live']);
    expect(events).toStrictEqual([delta]);
  });

  test('passes an event on whose data is no JSON, without its data', () => {
    FakeEventSource.last.opens();
    FakeEventSource.last.saysRaw('delta', '1.1-2', '{"text":');
    FakeEventSource.last.says({ ...delta, id: '1.1-3' });
    expect(events).toStrictEqual([
      { event: 'delta', id: '1.1-2', data: null },
      { ...delta, id: '1.1-3' },
    ]);
  });

  test('resumes from the cursor in its URL', () => {
    expect(FakeEventSource.last.cursor).toBeNull();
    cursor = '1.1-7';
    stream.open();
    expect(FakeEventSource.last.cursor).toBe('1.1-7');
  });

  test('passes nothing on after it was closed', () => {
    const source = FakeEventSource.last;
    stream.close();
    source.opens();
    source.says(delta);
    source.isRefused();
    vi.advanceTimersByTime(120_000);
    expect(kinds()).toStrictEqual(['connecting']);
    expect(events).toStrictEqual([]);
    expect(FakeEventSource.all).toHaveLength(1);
  });

  test('has one source, however often it is opened', () => {
    stream.open();
    stream.open();
    expect(FakeEventSource.alive).toStrictEqual([FakeEventSource.last]);
  });
});

describe('a connection that breaks', () => {
  test('is first reopened by the browser, after the delay that the server asked for', () => {
    FakeEventSource.last.opens();
    FakeEventSource.last.breaks();
    vi.advanceTimersByTime(30_000);
    expect(FakeEventSource.all).toHaveLength(1);
    FakeEventSource.last.opens();
    expect(kinds()).toStrictEqual(['connecting', 'live', 'reconnecting', 'live']);
  });

  test('is reopened by the page if the browser fails to reconnect', () => {
    const source = FakeEventSource.last;
    source.opens();
    source.breaks();
    source.breaks();
    expect(source.readyState).toBe(FakeEventSource.CLOSED);
    expect(kinds()).toStrictEqual(['connecting', 'live', 'reconnecting', 'waiting']);
    vi.advanceTimersByTime(1_000);
    expect(FakeEventSource.all).toHaveLength(2);
  });

  test('is reopened by the page at once if it never opened', () => {
    FakeEventSource.last.breaks();
    expect(connections.at(-1)).toStrictEqual({ kind: 'waiting', seconds: 1 });
  });
});

describe('an answer other than 200', () => {
  test('makes the page check the session and reconnect', async () => {
    FakeEventSource.last.isRefused();
    expect(fetch).toHaveBeenCalledWith('/sessions/s', expect.anything());
    await asked();
    const why = { status: 503, code: 'status', message: 'The server answered 503.' };
    expect(connections.slice(1)).toStrictEqual([{ kind: 'reconnecting' }, { kind: 'waiting', seconds: 1, why }]);
    vi.advanceTimersByTime(1_000);
    expect(FakeEventSource.all).toHaveLength(2);
    expect(connections.at(-1)).toStrictEqual({ kind: 'reconnecting' });
  });

  test('gives no reason if the session exists', async () => {
    status = 200;
    FakeEventSource.last.isRefused();
    await asked();
    expect(connections.at(-1)).toStrictEqual({ kind: 'waiting', seconds: 1 });
  });

  test('ends the stream if the session is gone', async () => {
    status = 404;
    FakeEventSource.last.isRefused();
    await asked();
    expect(connections.at(-1)).toStrictEqual({ kind: 'gone' });
    stream.wake();
    vi.advanceTimersByTime(120_000);
    expect(FakeEventSource.all).toHaveLength(1);
  });

  test('does not end the stream if the check fails', async () => {
    vi.mocked(fetch).mockRejectedValue(new TypeError('Failed to fetch'));
    FakeEventSource.last.isRefused();
    await asked();
    expect(connections.at(-1)).toStrictEqual({ kind: 'waiting', seconds: 1 });
  });

  test('is ignored after the stream was closed or reopened', async () => {
    status = 404;
    FakeEventSource.last.isRefused();
    stream.wake();
    FakeEventSource.last.opens();
    await asked();
    expect(connections.at(-1)).toStrictEqual({ kind: 'live' });
    FakeEventSource.last.isRefused();
    stream.close();
    await asked();
    expect(kinds()).not.toContain('gone');
  });
});

describe('the retry delay', () => {
  /** The longest delay, in whole seconds, after `failures` failures in a row. */
  async function refusedTimes(count: number): Promise<number> {
    for (let time = 1; time < count; time += 1) {
      FakeEventSource.last.isRefused();
      await asked();
      vi.advanceTimersByTime(30_000);
    }
    FakeEventSource.last.isRefused();
    await asked();
    const now = connections.at(-1)!;
    return now.kind === 'waiting' ? now.seconds : NaN;
  }

  test.each([
    [1, 1],
    [2, 2],
    [3, 4],
    [4, 8],
    [5, 16],
    [6, 30],
    [12, 30],
  ])('after %i failures is at most %i s', async (failures, most) => {
    expect(await refusedTimes(failures)).toBe(most);
  });

  test('is a random part of that, since all readers may be cut at once', async () => {
    luck = 0.25;
    expect(await refusedTimes(6)).toBe(8);
  });

  test('is counted down each second', async () => {
    await refusedTimes(3);
    vi.advanceTimersByTime(3_999);
    const seconds = connections.flatMap((now) => (now.kind === 'waiting' ? [now.seconds] : [])).slice(-4);
    expect(seconds).toStrictEqual([4, 3, 2, 1]);
    expect(connections.at(-1)).toStrictEqual({ kind: 'reconnecting' });
  });

  test('ends when the machine wakes', async () => {
    await refusedTimes(6);
    const before = FakeEventSource.all.length;
    stream.wake();
    vi.advanceTimersByTime(29_000);
    expect(FakeEventSource.all).toHaveLength(before + 1);
  });

  test('is short again after a good connection', async () => {
    await refusedTimes(6);
    stream.wake();
    FakeEventSource.last.opens();
    FakeEventSource.last.says(ping);
    expect(await refusedTimes(1)).toBe(1);
  });

  test('is not reset by the events that each attach begins with', async () => {
    await refusedTimes(3);
    stream.wake();
    FakeEventSource.last.opens();
    FakeEventSource.last.says({
      event: 'snapshot',
      id: '1.1-2',
      data: { session_id: 's', state: 'idle', messages: [] },
    });
    FakeEventSource.last.says(state);
    expect(await refusedTimes(1)).toBe(8);
  });
});

describe('silence', () => {
  test('of 40 s makes the page reconnect', () => {
    FakeEventSource.last.opens();
    vi.advanceTimersByTime(40_000);
    expect(FakeEventSource.all).toHaveLength(1);
    vi.advanceTimersByTime(5_000);
    expect(FakeEventSource.all).toHaveLength(2);
    expect(FakeEventSource.alive).toHaveLength(1);
  });

  test('ends with a ping', () => {
    FakeEventSource.last.opens();
    for (let quarter = 0; quarter < 8; quarter += 1) {
      vi.advanceTimersByTime(15_000);
      FakeEventSource.last.says(ping);
    }
    expect(FakeEventSource.all).toHaveLength(1);
  });

  test('is measured by the wall clock, so that a machine reconnects after sleep', () => {
    FakeEventSource.last.opens();
    vi.setSystemTime(Date.now() + 3_600_000);
    stream.wake();
    expect(FakeEventSource.all).toHaveLength(2);
  });

  test('is noticed even if the clock was set back', () => {
    FakeEventSource.last.opens();
    vi.setSystemTime(Date.now() - 3_600_000);
    vi.advanceTimersByTime(5_000);
    expect(FakeEventSource.all).toHaveLength(2);
  });

  test('of a connection that never opens makes the page reconnect, too', () => {
    vi.advanceTimersByTime(45_000);
    expect(FakeEventSource.all).toHaveLength(2);
  });
});

test('a wake leaves a live connection alone', () => {
  FakeEventSource.last.opens();
  stream.wake();
  expect(FakeEventSource.all).toHaveLength(1);
});

describe('a reader that starts over', () => {
  test('reconnects from its cursor of that time', () => {
    FakeEventSource.last.opens();
    cursor = '1.1-7';
    stream.startOver();
    expect(FakeEventSource.alive).toHaveLength(0);
    cursor = null;
    vi.advanceTimersByTime(1_000);
    expect(FakeEventSource.last.cursor).toBeNull();
  });

  test('waits longer each time', () => {
    const waits: number[] = [];
    for (let time = 0; time < 4; time += 1) {
      FakeEventSource.last.opens();
      stream.startOver();
      const now = connections.at(-1)!;
      if (now.kind === 'waiting') waits.push(now.seconds);
      vi.advanceTimersByTime(30_000);
    }
    expect(waits).toStrictEqual([1, 2, 4, 8]);
  });
});
