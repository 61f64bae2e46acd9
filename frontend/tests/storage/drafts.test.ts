import { beforeEach, describe, expect, test } from 'vitest';

import { drafts } from '../../src/storage/drafts';
import { forbid } from '../support/storages';

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

/** Another tab: what is shared it has, what was another's alone it has not. */
const inAnotherTab = () => sessionStorage.clear();

describe('a draft', () => {
  test('outlives a reload, and is its session’s alone', () => {
    drafts.keep('s', 'One');
    drafts.keep(null, 'Two');
    expect([drafts.of('s'), drafts.of(null), drafts.of('other')]).toStrictEqual(['One', 'Two', '']);
  });

  test('is given to a tab that has none', () => {
    drafts.keep('s', 'One');
    inAnotherTab();
    expect(drafts.of('s')).toBe('One');
  });

  test('is not given to a tab that has its own', () => {
    drafts.keep('s', 'Mine');
    const mine = Object.entries(sessionStorage) as [string, string][];
    inAnotherTab();
    drafts.keep('s', 'Theirs');
    for (const [name, value] of mine) sessionStorage.setItem(name, value);
    expect(drafts.of('s')).toBe('Mine');
  });

  test('that was sent comes back into no tab', () => {
    drafts.keep('s', 'One');
    drafts.keep('s', '');
    expect(drafts.of('s')).toBe('');
    inAnotherTab();
    expect(drafts.of('s')).toBe('');
  });

  test('that another tab types does not come into a box that was emptied', () => {
    drafts.keep('s', '');
    localStorage.setItem('midsentence.draft.s', '"Theirs"');
    expect(drafts.of('s')).toBe('');
  });
});

describe('what a browser does not keep', () => {
  test('is said', () => {
    expect(drafts.keep('s', 'One')).toBe(true);
    forbid('localStorage', 'sessionStorage');
    expect(drafts.keep('s', 'One')).toBe(false);
    expect(drafts.of('s')).toBe('');
  });

  test.each([
    ['localStorage', false],
    ['sessionStorage', true],
  ] as const)('is told by whether it would outlive the tab: without %s, %s', (name, outlives) => {
    forbid(name);
    expect(drafts.keep('s', 'One')).toBe(outlives);
    // A reload, which is what happens most, brings it back from either.
    expect(drafts.of('s')).toBe('One');
  });
});
