import { beforeEach, describe, expect, test } from 'vitest';

import {
  Reader,
  TABS,
  allHaveAll,
  browser,
  leader,
  opened,
  pass,
  prepareReaders,
  server,
  streams,
  talk,
} from '../../support/readers';

beforeEach(() => prepareReaders());

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
