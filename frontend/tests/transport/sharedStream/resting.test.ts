import { beforeEach, describe, expect, test } from 'vitest';

import {
  Reader,
  TABS,
  allHaveAll,
  browser,
  opened,
  pass,
  prepareReaders,
  server,
  streams,
} from '../../support/readers';

beforeEach(() => prepareReaders());

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
