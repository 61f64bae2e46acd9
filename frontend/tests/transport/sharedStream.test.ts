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
  readonly said: string[] = [];

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
    if (this.kind !== undefined && this.kind !== this.said.at(-1)) this.said.push(this.kind);
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
/** The streams of tabs that are awake: a frozen one's cannot be closed by anybody. */
const streams = () => [...server.streams].filter(({ tab }) => !tab.isFrozen);
const leader = (readers: readonly Reader[]) => readers.find(({ tab }) => streams()[0]?.tab === tab)!;

/** Nobody lost a word or has one twice, wherever they stand. */
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
  test('have one stream, and hear everything', async () => {
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

  test('are told what connection there is', async () => {
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

  test('can each ask for a reconnect that is due later', async () => {
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

  test('that come while an answer grows miss none of it, however fast it is', async () => {
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
  test('is followed at once, from where the next one stands', async () => {
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
    // Nobody needed the whole conversation again.
    expect(readers[0]!.said).not.toContain('waiting');
  });

  test('or is killed, in the middle of a word', async () => {
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

  test('or turns to another session, though its tab lives on', async () => {
    const [first, second] = opened(2) as [Reader, Reader];
    await pass(100);
    first.tab.do(() => first.chat.close());
    await pass(100);
    expect(streams().map(({ tab }) => tab)).toStrictEqual([second.tab]);
  });

  test('before it ever led leaves no trace', async () => {
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
      // Their clocks do not tick together.
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

  test('loses its place 2 s after somebody looks', async () => {
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

  test('follows when it wakes, and has missed nothing', async () => {
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

  test('stands in the queue again when it wakes', async () => {
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

  test('takes nothing back from those whom it answers late', async () => {
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

  test('says nothing of its own dead stream to the others when it wakes late', async () => {
    const { frozen, others } = await frozenLeader();
    others[5]!.show(false);
    others[5]!.show(true);
    await pass(120_000);
    await frozen.tab.thaw();
    await pass(20_000);
    expect([frozen, ...others].map(({ kind }) => kind)).toStrictEqual(Array.from({ length: TABS }, () => 'live'));
  });

  test('is noticed by its silence where nobody looks, and followed by one, not by all in a row', async () => {
    const { others } = await frozenLeader();
    const before = server.opened;
    await pass(60_000);
    expect(streams()).toHaveLength(1);
    expect(server.opened).toBe(before + 1);
    allHaveAll(others);
  });

  test('is taken for no leader by a tab that comes', async () => {
    const { others } = await frozenLeader();
    const newcomer = new Reader(browser.open());
    await pass(2_500);
    expect(streams()).toHaveLength(1);
    allHaveAll([newcomer, ...others]);
  });
});

describe('a connection that nobody needs', () => {
  const hideAll = (readers: readonly Reader[]) => readers.forEach((reader) => reader.show(false));

  test('rests when nobody looks and nothing runs', async () => {
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

  test('comes back once when one tab is looked at, for all', async () => {
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

  test('comes back once too where the tab that is looked at is the one that leads', async () => {
    const readers = opened(1);
    await pass(100);
    hideAll(readers);
    await pass(30_000);
    readers[0]!.show(true);
    await pass(100);
    expect(server.opened).toBe(2);
  });

  test('is needed while an answer grows, and until 20 s after', async () => {
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

  test('is needed by one that looks, though its leader never heard it come', async () => {
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

  test('is never one that is looked at', async () => {
    const readers = opened(1);
    await pass(600_000);
    expect(readers[0]!.kind).toBe('live');
    expect(server.opened).toBe(1);
  });
});

describe.each([
  [
    'without Web Locks, which plain HTTP has not',
    () => vi.spyOn(navigator, 'locks', 'get').mockReturnValue(undefined as unknown as LockManager),
  ],
  ['without a channel', () => vi.stubGlobal('BroadcastChannel', undefined)],
  [
    'where the locks are forbidden',
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

  test('it rests only out of sight', async () => {
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

describe('whatever happens', () => {
  test.each(Array.from({ length: 25 }, (_, at) => at))(
    'in schedule %i, every tab that lives has the whole conversation in the end',
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
