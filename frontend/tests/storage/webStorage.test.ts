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
] as const)('the store %s', (_, store) => {
  test('returns what was stored', () => {
    expect(store.set('one', { text: '溪流', turns: [1, null] })).toBe(true);
    expect(store.get('one')).toStrictEqual({ text: '溪流', turns: [1, null] });
    expect(store.keys()).toStrictEqual(['one']);
  });

  test('returns null for what was not stored or was removed', () => {
    store.set('one', 1);
    store.remove('one');
    expect(store.get('one')).toBeNull();
    expect(store.get('other')).toBeNull();
    expect(store.keys()).toStrictEqual([]);
  });

  test('ignores the values of other pages of this origin', () => {
    for (const storage of [localStorage, sessionStorage]) storage.setItem('one', '"theirs"');
    expect(store.get('one')).toBeNull();
    expect(store.keys()).toStrictEqual([]);
  });

  test('returns null for a value that is not JSON', () => {
    for (const storage of [localStorage, sessionStorage]) storage.setItem('midsentence.one', '{"half');
    expect(store.get('one')).toBeNull();
  });
});

test('the store of a tab is not shared', () => {
  tabStore.set('one', 1);
  expect(sharedStore.get('one')).toBeNull();
});

describe('a full storage', () => {
  test('is reported, and its values stay readable', () => {
    sharedStore.set('one', 1);
    fill('localStorage');
    expect(sharedStore.set('one', 2)).toBe(false);
    expect(sharedStore.get('one')).toBe(1);
  });
});

describe('a forbidden storage', () => {
  test.each([
    ['tab', tabStore, 'sessionStorage'],
    ['shared', sharedStore, 'localStorage'],
  ] as const)('throws no error (%s)', (_, store, name) => {
    forbid(name);
    expect(store.set('one', 1)).toBe(false);
    expect(store.get('one')).toBeNull();
    expect(store.keys()).toStrictEqual([]);
    expect(() => store.remove('one')).not.toThrow();
  });
});

describe('a change by another tab', () => {
  const tell = (key: string | null) => dispatchEvent(new StorageEvent('storage', { key }));

  test('calls the listeners of its name until they are removed', () => {
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

  test('includes clearing the storage', () => {
    const changed = vi.fn<() => void>();
    const stop = onShared('one', changed);
    tell(null);
    expect(changed).toHaveBeenCalledOnce();
    stop();
  });
});
