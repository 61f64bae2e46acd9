import { beforeEach, describe, expect, test, vi } from 'vitest';

import {
  type Reader,
  TABS,
  allHaveAll,
  leader,
  opened,
  pass,
  prepareReaders,
  server,
  streams,
  talk,
} from '../../support/readers';

let latency: () => number;

beforeEach(() => {
  latency = () => 1;
  prepareReaders(() => latency());
});

describe('twelve tabs of one session', () => {
  test('have one stream and receive all events', async () => {
    server.ask('Well?');
    talk(3);
    const readers = opened(TABS);
    await pass(100);
    talk(20);
    await pass(100);
    expect(streams()).toHaveLength(1);
    expect(server.opened).toBe(1);
    allHaveAll(readers);
    server.end();
    await pass(100);
    allHaveAll(readers);
    expect(new Set(readers.map(({ kind }) => kind))).toStrictEqual(new Set(['live']));
  });

  test('know the state of the connection', async () => {
    const readers = opened(TABS);
    await pass(100);
    server.isUp = false;
    server.cut();
    await pass(100);
    expect(new Set(readers.map(({ kind }) => kind))).toStrictEqual(new Set(['reconnecting']));
    server.isUp = true;
    await pass(5_000);
    expect(new Set(readers.map(({ kind }) => kind))).toStrictEqual(new Set(['live']));
  });

  test('can each reconnect before the retry delay is over', async () => {
    const readers = opened(TABS);
    await pass(100);
    server.isUp = false;
    server.cut();
    vi.spyOn(Math, 'random').mockReturnValue(0.99);
    await pass(120_000);
    server.isUp = true;
    const waiting = readers.find((reader) => reader !== leader(readers))!;
    expect(waiting.kind).toMatch(/waiting|reconnecting/);
    const before = server.opened;
    waiting.tab.do(() => waiting.chat.wake());
    await pass(100);
    expect(server.opened).toBe(before + 1);
    expect(waiting.kind).toBe('live');
  });

  test('that open while an answer grows miss none of it', async () => {
    latency = () => 3;
    server.ask('Well?');
    const readers = opened(1);
    await pass(100);
    for (let step = 0; step < 60; step += 1) {
      if (step % 5 === 0) readers.push(...opened(1));
      talk(1);
      await pass(1);
    }
    await pass(100);
    allHaveAll(readers);
  });
});

describe.each([
  [
    'without Web Locks, as over plain HTTP',
    () => vi.spyOn(navigator, 'locks', 'get').mockReturnValue(undefined as unknown as LockManager),
  ],
  ['without a channel', () => vi.stubGlobal('BroadcastChannel', undefined)],
  [
    'with forbidden Web Locks',
    () =>
      vi.spyOn(navigator, 'locks', 'get').mockReturnValue({
        request: () =>
          Promise.reject(new DOMException('Access to the Locks API is denied in this context.', 'SecurityError')),
      } as unknown as LockManager),
  ],
])('%s', (_, arrange) => {
  beforeEach(arrange);

  test('each tab has its own stream', async () => {
    const readers = opened(3);
    await pass(3_000);
    server.ask('Well?');
    talk(10);
    await pass(100);
    expect(streams()).toHaveLength(3);
    expect(server.opened).toBe(3);
    allHaveAll(readers);
    readers[0]!.close();
    await pass(100);
    expect(streams()).toHaveLength(2);
  });

  test('it rests only while it is hidden', async () => {
    const [reader] = opened(1) as [Reader];
    await pass(60_000);
    expect(reader.kind).toBe('live');
    reader.show(false);
    await pass(30_000);
    expect(reader.kind).toBe('resting');
    reader.show(true);
    await pass(100);
    expect(reader.kind).toBe('live');
  });
});
