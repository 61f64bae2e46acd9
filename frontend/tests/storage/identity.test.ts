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

/** A page that begins in this tab. Its storage is that of the page before it, as after a reload or in a duplicate. */
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

  test('is not that of the tab of which it is a copy', async () => {
    const { name } = await begin(browser.open());
    const copy = browser.open();
    const copied = await begin(copy);
    expect(copied.name).not.toBe(name);
    copy.kill();
    expect((await begin(browser.open())).name).toBe(copied.name);
  });

  test('is another one in every tab', async () => {
    const { name } = await begin(browser.open());
    sessionStorage.clear();
    expect((await begin(browser.open())).name).not.toBe(name);
  });
});

describe('a tab that is gone', () => {
  test('is told from one that lives, and from oneself', async () => {
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
])('where a browser %s', (_, locks) => {
  beforeEach(() => {
    vi.spyOn(navigator, 'locks', 'get').mockReturnValue(locks as unknown as LockManager);
  });

  test('the page begins all the same, and keeps its name', async () => {
    const { name } = await begin(browser.open());
    expect(name).toMatch(/^[0-9a-f]{32}$/);
    expect((await begin(browser.open())).name).toBe(name);
  });

  test('nobody is taken for gone: better to wait for a tab that is dead than to act for one that lives', async () => {
    const tab = browser.open();
    const { gone } = await begin(tab);
    expect(await tab.do(() => gone(['one', 'other']))).toStrictEqual([]);
  });
});
