import { beforeEach, describe, expect, test, vi } from 'vitest';

import { onShared, shared, tab } from '../../src/keeping/storage';
import { fill, forbid } from '../support/storages';

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

describe.each([
  ['tab', tab],
  ['shared', shared],
] as const)('what is kept for %s', (_, keeper) => {
  test('comes back as it was', () => {
    expect(keeper.remember('one', { text: '溪流', turns: [1, null] })).toBe(true);
    expect(keeper.recall('one')).toStrictEqual({ text: '溪流', turns: [1, null] });
    expect(keeper.names()).toStrictEqual(['one']);
  });

  test('is null where nothing was kept, or was forgotten', () => {
    keeper.remember('one', 1);
    keeper.forget('one');
    expect(keeper.recall('one')).toBeNull();
    expect(keeper.recall('other')).toBeNull();
    expect(keeper.names()).toStrictEqual([]);
  });

  test('is its own page’s: another one of this origin is left alone', () => {
    for (const storage of [localStorage, sessionStorage]) storage.setItem('one', '"theirs"');
    expect(keeper.recall('one')).toBeNull();
    expect(keeper.names()).toStrictEqual([]);
  });

  test('is nothing where somebody wrote what is no JSON', () => {
    for (const storage of [localStorage, sessionStorage]) storage.setItem('midsentence.one', '{"half');
    expect(keeper.recall('one')).toBeNull();
  });
});

test('a tab shares nothing with the others but what is shared', () => {
  tab.remember('one', 1);
  expect(shared.recall('one')).toBeNull();
});

describe('a storage that is full', () => {
  test('is said, and what it has stays readable', () => {
    shared.remember('one', 1);
    fill('localStorage');
    expect(shared.remember('one', 2)).toBe(false);
    expect(shared.recall('one')).toBe(1);
  });
});

describe('a storage that is forbidden', () => {
  test.each([
    ['tab', tab, 'sessionStorage'],
    ['shared', shared, 'localStorage'],
  ] as const)('breaks nothing (%s)', (_, keeper, name) => {
    forbid(name);
    expect(keeper.remember('one', 1)).toBe(false);
    expect(keeper.recall('one')).toBeNull();
    expect(keeper.names()).toStrictEqual([]);
    expect(() => keeper.forget('one')).not.toThrow();
  });
});

describe('a change by another tab', () => {
  const tell = (key: string | null) => dispatchEvent(new StorageEvent('storage', { key }));

  test('is told to whoever listens for that name, until they stop', () => {
    const changed = vi.fn<() => void>();
    const stop = onShared('one', changed);
    tell('midsentence.other');
    tell('one');
    expect(changed).not.toHaveBeenCalled();
    tell('midsentence.one');
    expect(changed).toHaveBeenCalledOnce();
    stop();
    tell('midsentence.one');
    expect(changed).toHaveBeenCalledOnce();
  });

  test('is one where it cleared all', () => {
    const changed = vi.fn<() => void>();
    const stop = onShared('one', changed);
    tell(null);
    expect(changed).toHaveBeenCalledOnce();
    stop();
  });
});
