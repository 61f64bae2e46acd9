import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { prefer, preferences, chosenLanguage } from '../../src/storage/preferences';
import { sharedStore } from '../../src/storage/webStorage';
import { fill } from '../support/storages';

const ORDINARY = { theme: 'auto', language: 'auto', sidebar: true, model: null };

beforeEach(() => {
  localStorage.clear();
});
afterEach(() => {
  vi.restoreAllMocks();
});

test('the default follows the system', () => {
  expect(preferences()).toStrictEqual(ORDINARY);
});

test('a choice is stored together with the others', () => {
  prefer({ theme: 'dark' });
  expect(prefer({ sidebar: false })).toStrictEqual({ ...ORDINARY, theme: 'dark', sidebar: false });
  expect(preferences()).toStrictEqual({ ...ORDINARY, theme: 'dark', sidebar: false });
});

test('a choice is returned even if it cannot be stored', () => {
  fill('localStorage');
  expect(prefer({ theme: 'dark' }).theme).toBe('dark');
});

describe('preferences of another version of the page', () => {
  test.each<unknown>([null, 'dark', 7, [], ['dark'], { theme: 'sepia', language: 'xx', sidebar: 'no', model: 7 }])(
    'breaks nothing: %j',
    (kept) => {
      sharedStore.set('preferences', kept);
      expect(preferences()).toStrictEqual(ORDINARY);
    },
  );

  test('are used where they are valid', () => {
    sharedStore.set('preferences', { theme: 'light', language: 'xx', more: 1 });
    expect(preferences()).toStrictEqual({ ...ORDINARY, theme: 'light' });
  });
});

describe('the language', () => {
  test('is the chosen one', () => {
    expect(chosenLanguage({ ...preferences(), language: 'zh' })).toBe('zh');
  });

  test('is the browser’s if none was chosen', () => {
    vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['zh-CN', 'en']);
    expect(chosenLanguage(preferences())).toBe('zh');
    vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['fr']);
    expect(chosenLanguage(preferences())).toBe('en');
  });
});
