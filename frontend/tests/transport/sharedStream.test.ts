import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Chat } from '../../src/chat';
import { Outbox } from '../../src/storage/outbox';
import { Browser, type Tab } from '../support/browser';
import { Chance, SEED } from '../support/chance';
import { Memory } from '../support/memory';
import { Server, sourceOf } from '../support/server';

const TABS = 12;

/** A tab that reads the session. */
class Reader {
  readonly tab: Tab;
  readonly chat: Chat;
  readonly kinds: string[] = [];

  constructor(tab: Tab) {
    this.tab = tab;
    const identity = { name: tab.name, gone: async () => [] };
    this.chat = tab.do(() => {
      const outbox = new Outbox(identity, { changed: () => {}, accepted: () => {} }, new Memory());
      return new Chat('s', tab.name, outbox, { changed: () => this.#noted(), listed: () => {} });
    });
    tab.do(() => this.chat.open());
  }

  get kind(): string | undefined {
    return this.chat.connection?.kind;
  }

  get messages() {
    return this.chat.conversation.messages;
  }

  show(isVisible: boolean): void {
    if (this.tab.isVisible === isVisible) return;
    this.tab.isVisible = isVisible;
    this.tab.run(() => this.chat.visibilityChanged());
  }

  close(): void {
    this.tab.do(() => this.chat.close());
    this.tab.kill();
  }

  #noted(): void {
    if (this.kind !== undefined && this.kind !== this.kinds.at(-1)) this.kinds.push(this.kind);
  }
}

let browser: Browser;
let server: Server;
let latency: () => number;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  latency = () => 1;
  server = new Server();
  browser = new Browser(() => latency());
  browser.onGone = (tab) => {
    for (const stream of server.streams) if (stream.tab === tab) stream.close();
  };
  vi.stubGlobal('EventSource', sourceOf(server));
  vi.stubGlobal('fetch', async () => new Response('{}'));
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);
const opened = (count: number) => Array.from({ length: count }, () => new Reader(browser.open()));
/** The streams of tabs that are not frozen: nobody can close the stream of a frozen tab. */
const streams = () => [...server.streams].filter(({ tab }) => !tab.isFrozen);
const leader = (readers: readonly Reader[]) => readers.find(({ tab }) => streams()[0]?.tab === tab)!;

/** At its cursor, no reader lacks text or has it twice. */
function allSound(readers: readonly Reader[], hint = ''): void {
  for (const {
    chat: {
      conversation: { cursor, messages },
    },
    tab,
  } of readers) {
    if (cursor !== null) expect(messages, `${tab.name} at ${cursor} ${hint}`).toStrictEqual(server.upTo(cursor));
  }
}

function allHaveAll(readers: readonly Reader[], hint = ''): void {
  for (const { messages, tab } of readers) expect(messages, `${tab.name} ${hint}`).toStrictEqual(server.messages);
}

function talk(words: number): void {
  for (let word = 0; word < words; word += 1) server.say(`${server.log.length} `);
}

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

describe('a leader that closes', () => {
  test('is replaced at once, from the cursor of the next one', async () => {
    const readers = opened(TABS);
    await pass(100);
    server.ask('Well?');
    talk(10);
    await pass(100);
    while (readers.length > 1) {
      const at = readers.indexOf(leader(readers));
      readers.splice(at, 1)[0]!.close();
      talk(5);
      await pass(50);
      expect(streams()).toHaveLength(1);
      allHaveAll(readers);
    }
    expect(server.opened).toBe(TABS);
    // No snapshot was needed.
    expect(readers[0]!.kinds).not.toContain('waiting');
  });

  test('is replaced when it is killed in mid-answer', async () => {
    const readers = opened(TABS);
    await pass(100);
    server.ask('Well?');
    talk(10);
    const dead = leader(readers);
    talk(5);
    dead.tab.kill();
    const left = readers.filter((reader) => reader !== dead);
    await pass(100);
    expect(streams()).toHaveLength(1);
    allHaveAll(left);
  });

  test('is replaced when it opens another session in the same tab', async () => {
    const [first, second] = opened(2) as [Reader, Reader];
    await pass(100);
    first.tab.do(() => first.chat.close());
    await pass(100);
    expect(streams().map(({ tab }) => tab)).toStrictEqual([second.tab]);
  });

  test('is not noticed if it never led', async () => {
    const [first, second, third] = opened(3) as [Reader, Reader, Reader];
    await pass(100);
    second.close();
    await pass(100);
    first.close();
    await pass(100);
    expect(streams().map(({ tab }) => tab)).toStrictEqual([third.tab]);
  });
});

describe('a leader that is frozen', () => {
  async function frozenLeader(): Promise<{ frozen: Reader; others: Reader[] }> {
    const readers: Reader[] = [];
    for (let count = 0; count < TABS; count += 1) {
      readers.push(...opened(1));
      // The timers of the tabs are not in step.
      await pass(300);
    }
    server.ask('Well?');
    talk(10);
    await pass(100);
    const frozen = leader(readers);
    frozen.tab.freeze();
    talk(10);
    return { frozen, others: readers.filter((reader) => reader !== frozen) };
  }

  test('loses the lock 2 s after a tab becomes visible', async () => {
    const { others } = await frozenLeader();
    const looked = others[5]!;
    looked.show(false);
    looked.show(true);
    await pass(1_900);
    expect(streams()).toHaveLength(0);
    await pass(200);
    expect(streams().map(({ tab }) => tab)).toStrictEqual([looked.tab]);
    allHaveAll(others);
  });

  test('follows after it thaws, and misses nothing', async () => {
    const { frozen, others } = await frozenLeader();
    others[5]!.show(false);
    others[5]!.show(true);
    await pass(3_000);
    talk(10);
    await frozen.tab.thaw();
    await pass(100);
    expect(streams().map(({ tab }) => tab)).toStrictEqual([others[5]!.tab]);
    talk(10);
    await pass(100);
    allHaveAll([frozen, ...others]);
    expect(new Set([frozen, ...others].map(({ kind }) => kind))).toStrictEqual(new Set(['live']));
    others[5]!.close();
    await pass(100);
    expect(streams()).toHaveLength(1);
  });

  test('is in the queue again after it thaws', async () => {
    const [frozen, other] = opened(2) as [Reader, Reader];
    await pass(100);
    frozen.tab.freeze();
    other.show(false);
    other.show(true);
    await pass(3_000);
    await frozen.tab.thaw();
    await pass(100);
    other.close();
    await pass(100);
    expect(streams().map(({ tab }) => tab)).toStrictEqual([frozen.tab]);
  });

  test('does not roll back the tabs that it answers late', async () => {
    const { frozen, others } = await frozenLeader();
    for (const reader of others) {
      reader.show(false);
      reader.show(true);
    }
    await pass(3_000);
    talk(10);
    await pass(100);
    await frozen.tab.thaw();
    await pass(100);
    allHaveAll(others);
  });

  test('does not report its dead stream to the others when it thaws late', async () => {
    const { frozen, others } = await frozenLeader();
    others[5]!.show(false);
    others[5]!.show(true);
    await pass(120_000);
    await frozen.tab.thaw();
    await pass(20_000);
    expect([frozen, ...others].map(({ kind }) => kind)).toStrictEqual(Array.from({ length: TABS }, () => 'live'));
  });

  test('is replaced after its silence by one tab, even if all are hidden', async () => {
    const { others } = await frozenLeader();
    const before = server.opened;
    await pass(60_000);
    expect(streams()).toHaveLength(1);
    expect(server.opened).toBe(before + 1);
    allHaveAll(others);
  });

  test('is replaced when a new tab opens', async () => {
    const { others } = await frozenLeader();
    const newcomer = new Reader(browser.open());
    await pass(2_500);
    expect(streams()).toHaveLength(1);
    allHaveAll([newcomer, ...others]);
  });
});

describe('a stream that nobody needs', () => {
  const hideAll = (readers: readonly Reader[]) => readers.forEach((reader) => reader.show(false));

  test('rests when all tabs are hidden and no turn runs', async () => {
    const readers = opened(TABS);
    await pass(100);
    hideAll(readers);
    await pass(19_000);
    expect(streams()).toHaveLength(1);
    await pass(2_000);
    expect(streams()).toHaveLength(0);
    expect(new Set(readers.map(({ kind }) => kind))).toStrictEqual(new Set(['resting']));
    await pass(600_000);
    expect(server.opened).toBe(1);
  });

  test('resumes once, for all tabs, when one becomes visible', async () => {
    const readers = opened(TABS);
    await pass(100);
    hideAll(readers);
    await pass(30_000);
    server.ask('Well?');
    readers[7]!.show(true);
    await pass(100);
    expect(server.opened).toBe(2);
    allHaveAll(readers);
  });

  test('resumes once when the leader becomes visible', async () => {
    const readers = opened(1);
    await pass(100);
    hideAll(readers);
    await pass(30_000);
    readers[0]!.show(true);
    await pass(100);
    expect(server.opened).toBe(2);
  });

  test('is kept while an answer grows, and for 20 s after', async () => {
    const readers = opened(TABS);
    server.ask('Well?');
    await pass(100);
    hideAll(readers);
    await pass(60_000);
    expect(streams()).toHaveLength(1);
    server.end();
    await pass(19_000);
    expect(streams()).toHaveLength(1);
    await pass(2_000);
    expect(streams()).toHaveLength(0);
    allHaveAll(readers);
  });

  test('is kept for a visible tab that its new leader does not know', async () => {
    const [first, looking] = opened(2) as [Reader, Reader];
    await pass(100);
    const late = new Reader(browser.open());
    await pass(100);
    late.show(false);
    first.tab.freeze();
    late.show(true);
    await pass(3_000);
    expect(streams().map(({ tab }) => tab)).toStrictEqual([late.tab]);
    late.show(false);
    await pass(30_000);
    expect(looking.kind).toBe('live');
  });

  test('never rests while a tab is visible', async () => {
    const readers = opened(1);
    await pass(600_000);
    expect(readers[0]!.kind).toBe('live');
    expect(server.opened).toBe(1);
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

describe('in any order of events', () => {
  test.each(Array.from({ length: 25 }, (_, at) => at))(
    'in schedule %i, each living tab has the whole conversation in the end',
    async (at) => {
      const chance = new Chance(SEED + at);
      const hint = `SEED=${SEED}`;
      latency = () => chance.below(4);
      vi.spyOn(Math, 'random').mockImplementation(() => chance.below(1_000) / 1_000);
      const readers = opened(TABS);
      const doings: (() => unknown)[] = [
        () => readers.length < TABS && readers.push(...opened(1)),
        () => readers.length > 1 && readers.splice(chance.below(readers.length), 1)[0]!.tab.kill(),
        () => {
          const leaving = chance.of(readers);
          if (readers.length === 1 || leaving.tab.isFrozen) return;
          readers.splice(readers.indexOf(leaving), 1);
          leaving.close();
        },
        () => chance.of(readers).tab.freeze(),
        () => chance.of(readers).tab.thaw(),
        () => chance.of(readers).show(chance.below(2) > 0),
        () => server.ask('Well?'),
        () => talk(chance.below(20)),
        () => talk(1),
        () => server.replaceWorker(),
        () => server.end(),
        () => server.cut(),
        () => {
          server.isUp = !server.isUp;
          if (!server.isUp) server.cut();
        },
      ];
      for (let step = 0; step < 150; step += 1) {
        await chance.of(doings)();
        await pass(chance.of([0, 1, 2, 5, 50, 500, 3_000, 25_000]));
        allSound(readers, hint);
        expect(streams().length, hint).toBeLessThan(2);
      }
      server.isUp = true;
      for (const reader of readers) {
        await reader.tab.thaw();
        reader.show(true);
      }
      await pass(120_000);
      allHaveAll(readers, hint);
      expect(streams(), hint).toHaveLength(1);
      expect(new Set(readers.map(({ kind }) => kind)), hint).toStrictEqual(new Set(['live']));
    },
  );
});
