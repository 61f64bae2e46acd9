import { beforeEach, describe, expect, test } from 'vitest';

import { drafts } from '../../src/storage/drafts';
import { forbid } from '../support/storages';

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

/** Continues as another tab: it has the shared storage, but not the first tab's own. */
const inAnotherTab = () => sessionStorage.clear();

describe('a draft', () => {
  test('outlives a reload and belongs to one session', () => {
    drafts.keep('s', 'One');
    drafts.keep(null, 'Two');
    expect([drafts.of('s'), drafts.of(null), drafts.of('other')]).toStrictEqual(['One', 'Two', '']);
  });

  test('is shown in a tab that has none', () => {
    drafts.keep('s', 'One');
    inAnotherTab();
    expect(drafts.of('s')).toBe('One');
  });

  test('is not shown in a tab that has its own', () => {
    drafts.keep('s', 'Mine');
    const mine = Object.entries(sessionStorage) as [string, string][];
    inAnotherTab();
    drafts.keep('s', 'Theirs');
    for (const [name, value] of mine) sessionStorage.setItem(name, value);
    expect(drafts.of('s')).toBe('Mine');
  });

  test('does not come back in any tab after it was sent', () => {
    drafts.keep('s', 'One');
    drafts.keep('s', '');
    expect(drafts.of('s')).toBe('');
    inAnotherTab();
    expect(drafts.of('s')).toBe('');
  });

  test('does not replace an emptied draft of another tab', () => {
    drafts.keep('s', '');
    localStorage.setItem('midsentence.draft.s', '"Theirs"');
    expect(drafts.of('s')).toBe('');
  });
});

describe('a draft that the browser cannot store', () => {
  test('is reported', () => {
    expect(drafts.keep('s', 'One')).toBe(true);
    forbid('localStorage', 'sessionStorage');
    expect(drafts.keep('s', 'One')).toBe(false);
    expect(drafts.of('s')).toBe('');
  });

  test.each([
    ['localStorage', false],
    ['sessionStorage', true],
  ] as const)('is reported by whether it outlives the tab: without %s, %s', (name, outlives) => {
    forbid(name);
    expect(drafts.keep('s', 'One')).toBe(outlives);
    // After a reload, the draft comes back from either storage.
    expect(drafts.of('s')).toBe('One');
  });
});
