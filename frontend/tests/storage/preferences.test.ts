import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { prefer, preferences, spoken } from '../../src/storage/preferences';
import { sharedStore } from '../../src/storage/webStorage';
import { fill } from '../support/storages';

const ORDINARY = { theme: 'auto', language: 'auto', sidebar: true };

beforeEach(() => {
  localStorage.clear();
});
afterEach(() => {
  vi.restoreAllMocks();
});

test('what nobody chose is as the system has it', () => {
  expect(preferences()).toStrictEqual(ORDINARY);
});

test('a choice is kept, and the others with it', () => {
  prefer({ theme: 'dark' });
  expect(prefer({ sidebar: false })).toStrictEqual({ ...ORDINARY, theme: 'dark', sidebar: false });
  expect(preferences()).toStrictEqual({ ...ORDINARY, theme: 'dark', sidebar: false });
});

test('a choice counts where nothing can be kept, as long as whoever made it remembers it', () => {
  fill('localStorage');
  expect(prefer({ theme: 'dark' }).theme).toBe('dark');
});

describe('what another version kept', () => {
  test.each<unknown>([null, 'dark', 7, [], ['dark'], { theme: 'sepia', language: 'xx', sidebar: 'no' }])(
    'breaks nothing: %j',
    (kept) => {
      sharedStore.set('preferences', kept);
      expect(preferences()).toStrictEqual(ORDINARY);
    },
  );

  test('is followed as far as it is known', () => {
    sharedStore.set('preferences', { theme: 'light', language: 'xx', more: 1 });
    expect(preferences()).toStrictEqual({ ...ORDINARY, theme: 'light' });
  });
});

describe('the language', () => {
  test('is the one that was chosen', () => {
    expect(spoken({ ...preferences(), language: 'zh' })).toBe('zh');
  });

  test('is else the browser’s', () => {
    vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['zh-CN', 'en']);
    expect(spoken(preferences())).toBe('zh');
    vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['fr']);
    expect(spoken(preferences())).toBe('en');
  });
});
