import { beforeEach, describe, expect, test, vi } from 'vitest';

import { onShared, sharedStore, tabStore } from '../../src/storage/webStorage';
import { fill, forbid } from '../support/storages';

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

describe.each([
  ['tab', tabStore],
  ['shared', sharedStore],
] as const)('what is kept for %s', (_, store) => {
  test('comes back as it was', () => {
    expect(store.set('one', { text: '溪流', turns: [1, null] })).toBe(true);
    expect(store.get('one')).toStrictEqual({ text: '溪流', turns: [1, null] });
    expect(store.keys()).toStrictEqual(['one']);
  });

  test('is null where nothing was kept, or was forgotten', () => {
    store.set('one', 1);
    store.remove('one');
    expect(store.get('one')).toBeNull();
    expect(store.get('other')).toBeNull();
    expect(store.keys()).toStrictEqual([]);
  });

  test('is its own page’s: another one of this origin is left alone', () => {
    for (const storage of [localStorage, sessionStorage]) storage.setItem('one', '"theirs"');
    expect(store.get('one')).toBeNull();
    expect(store.keys()).toStrictEqual([]);
  });

  test('is nothing where somebody wrote what is no JSON', () => {
    for (const storage of [localStorage, sessionStorage]) storage.setItem('midsentence.one', '{"half');
    expect(store.get('one')).toBeNull();
  });
});

test('a tab shares nothing with the others but what is shared', () => {
  tabStore.set('one', 1);
  expect(sharedStore.get('one')).toBeNull();
});

describe('a storage that is full', () => {
  test('is said, and what it has stays readable', () => {
    sharedStore.set('one', 1);
    fill('localStorage');
    expect(sharedStore.set('one', 2)).toBe(false);
    expect(sharedStore.get('one')).toBe(1);
  });
});

describe('a storage that is forbidden', () => {
  test.each([
    ['tab', tabStore, 'sessionStorage'],
    ['shared', sharedStore, 'localStorage'],
  ] as const)('breaks nothing (%s)', (_, store, name) => {
    forbid(name);
    expect(store.set('one', 1)).toBe(false);
    expect(store.get('one')).toBeNull();
    expect(store.keys()).toStrictEqual([]);
    expect(() => store.remove('one')).not.toThrow();
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
