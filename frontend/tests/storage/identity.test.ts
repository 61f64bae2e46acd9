import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { type Identity, identity } from '../../src/storage/identity';
import { Browser, type Tab } from '../support/browser';

let browser: Browser;

beforeEach(() => {
  vi.useFakeTimers();
  browser = new Browser();
  sessionStorage.clear();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Starts a page in this tab, with the storage of the page before it, as after a reload or in a duplicated tab. */
async function begin(tab: Tab): Promise<Identity> {
  const name = tab.do(identity);
  await vi.advanceTimersByTimeAsync(10);
  return name;
}

describe('the name of a tab', () => {
  test('outlives a reload', async () => {
    const before = browser.open();
    const { name } = await begin(before);
    before.kill();
    expect((await begin(browser.open())).name).toBe(name);
  });

  test('changes when the tab is duplicated', async () => {
    const { name } = await begin(browser.open());
    const copy = browser.open();
    const copied = await begin(copy);
    expect(copied.name).not.toBe(name);
    copy.kill();
    expect((await begin(browser.open())).name).toBe(copied.name);
  });

  test('differs in each tab', async () => {
    const { name } = await begin(browser.open());
    sessionStorage.clear();
    expect((await begin(browser.open())).name).not.toBe(name);
  });
});

describe('a tab that is gone', () => {
  test('is distinguished from a living one and from this one', async () => {
    const [first, second] = [browser.open(), browser.open()];
    const { name: one } = await begin(first);
    sessionStorage.clear();
    const { name: other, gone } = await begin(second);
    expect(await second.do(() => gone([one, other, 'never']))).toStrictEqual(['never']);
    first.kill();
    expect(await second.do(() => gone([one, other]))).toStrictEqual([one]);
  });
});

const FORBIDDEN = () =>
  Promise.reject(new DOMException('Access to the Locks API is denied in this context.', 'SecurityError'));

describe.each([
  ['has no Web Locks', undefined],
  ['forbids them', { request: FORBIDDEN, query: FORBIDDEN }],
])('in a browser that %s', (_, locks) => {
  beforeEach(() => {
    vi.spyOn(navigator, 'locks', 'get').mockReturnValue(locks as unknown as LockManager);
  });

  test('the page starts and keeps its name', async () => {
    const { name } = await begin(browser.open());
    expect(name).toMatch(/^[0-9a-f]{32}$/);
    expect((await begin(browser.open())).name).toBe(name);
  });

  test('no tab counts as gone', async () => {
    const tab = browser.open();
    const { gone } = await begin(tab);
    expect(await tab.do(() => gone(['one', 'other']))).toStrictEqual([]);
  });
});
