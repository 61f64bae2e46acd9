import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Page } from '../src/page';
import type { SessionEvent } from '../src/log/events';
import { linear } from './support/entries';
import { FakeEventSource } from './support/eventSource';
import { Posts, taken } from './support/posts';

let posts: Posts;
let page: Page;
let visibility: DocumentVisibilityState;
const listeners: [string, EventListenerOrEventListenerObject][] = [];

beforeEach(() => {
  vi.useFakeTimers();
  posts = new Posts();
  FakeEventSource.all = [];
  visibility = 'visible';
  for (const storage of [localStorage, sessionStorage]) storage.clear();
  history.replaceState(null, '', '#');
  vi.stubGlobal('fetch', posts.fetch);
  vi.stubGlobal('EventSource', FakeEventSource);
  vi.spyOn(document, 'visibilityState', 'get').mockImplementation(() => visibility);
  // A page listens for as long as its window lives, and a test's window lives longer.
  for (const target of [window, document]) {
    const add = target.addEventListener.bind(target) as typeof window.addEventListener;
    vi.spyOn(target, 'addEventListener').mockImplementation((...args: Parameters<typeof add>) => {
      listeners.push([args[0], args[1]]);
      add(...args);
    });
  }
});
afterEach(() => {
  page.chat.close();
  for (const [name, listener] of listeners.splice(0)) {
    window.removeEventListener(name, listener);
    document.removeEventListener(name, listener);
  }
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function begin(): Page {
  page = new Page({ name: 'me', gone: async () => [] });
  page.start();
  return page;
}

/** The reader went there, by a link or by the browser's back. */
function goTo(session: string): void {
  history.replaceState(null, '', `#${session}`);
  dispatchEvent(new HashChangeEvent('hashchange'));
}

const state: SessionEvent = {
  event: 'state',
  id: null,
  data: { state: 'idle', turn: 1, queued: [], title: null, model: null },
};

function attaches(id = '1.1-9', messages = linear(1)): void {
  FakeEventSource.last.opens();
  FakeEventSource.last.says({ event: 'snapshot', id, data: { session_id: 's', state: 'idle', messages } });
  FakeEventSource.last.says(state);
}

describe('a page that begins', () => {
  test('opens the session that its address names', () => {
    history.replaceState(null, '', '#s%3F1');
    begin();
    expect(page.chat.session).toBe('s?1');
    expect(FakeEventSource.last.url).toBe('/sessions/s%3F1/events');
  });

  test('takes an address that nobody wrote for what it says', () => {
    history.replaceState(null, '', '#%E6%BA');
    expect(begin().chat.session).toBe('%E6%BA');
  });

  test('sends what the page before it left', async () => {
    begin();
    page.chat.ask('Well?');
    await taken();
    page.chat.close();
    begin();
    await taken();
    expect(posts.texts).toStrictEqual(['Well?', 'Well?']);
    expect(posts.all[1]!.key).toBe(posts.all[0]!.key);
  });
});

describe('the address', () => {
  test('names a new chat’s session from its 202 on, so that a reload finds it, and the way back leads to a new chat', async () => {
    begin();
    const before = history.length;
    page.chat.ask('Well?');
    await posts.accept(1, 'new');
    expect(location.hash).toBe('#new');
    expect(history.length).toBe(before + 1);
  });

  test('is left alone by a message of the session that it names', async () => {
    goTo('s');
    begin();
    attaches();
    const before = history.length;
    page.chat.ask('Well?');
    await posts.accept(2, 's');
    expect([location.hash, history.length]).toStrictEqual(['#s', before]);
  });

  test.each(['', 's'])('is left alone by a 202 that comes while the reader goes elsewhere from #%s', async (from) => {
    goTo(from);
    begin();
    page.chat.ask('Well?');
    await taken();
    // The address is another by now, and the page has not been told.
    history.replaceState(null, '', '#other');
    await posts.accept(2, 's');
    expect(location.hash).toBe('#other');
  });

  test('leads to another session, and the one before is left', () => {
    goTo('s');
    begin();
    const [source] = FakeEventSource.all;
    goTo('other');
    expect(page.chat.session).toBe('other');
    expect(FakeEventSource.alive).toStrictEqual([FakeEventSource.last]);
    expect(source!.readyState).toBe(FakeEventSource.CLOSED);
  });
});

describe('what a person asked for', () => {
  test('and did not get is said in the page’s language, until the next time', async () => {
    goTo('s');
    begin();
    const stopping = page.stop();
    expect(page.isStopping).toBe(true);
    await posts.refuse(503, 'draining');
    await stopping;
    expect([page.failure, page.isStopping]).toStrictEqual([
      'Stop did not work. This server is being restarted.',
      false,
    ]);
    await page.attempt('Nothing', async () => {});
    expect(page.failure).toBe('');
  });

  test('twice is asked once', async () => {
    goTo('s');
    begin();
    void page.stop();
    void page.stop();
    await taken();
    expect(posts.all.map(({ path }) => path)).toStrictEqual(['/sessions/s/stop']);
  });

  test('is nothing on a new chat', async () => {
    begin();
    await page.stop();
    expect(posts.all).toHaveLength(0);
  });

  test('that has a defect is not hidden', async () => {
    begin();
    await expect(page.attempt('Stop', () => Promise.reject(new TypeError('a defect')))).rejects.toThrow('a defect');
  });

  test.each([
    ['s', ''],
    ['other', '#s'],
  ])('to be removed, of %s, leaves the address %j', async (removed, hash) => {
    goTo('s');
    begin();
    await page.remove(removed);
    expect(location.hash).toBe(hash);
  });
});

describe('whoever draws', () => {
  test('is told once a frame, however much came', () => {
    begin();
    vi.advanceTimersToNextFrame();
    const [painter, watcher] = [vi.fn<() => void>(), vi.fn<() => void>()];
    page.onPaint(painter);
    const stop = page.onChange(watcher);
    for (let time = 0; time < 5; time += 1) page.changed();
    expect([painter, watcher].map(({ mock }) => mock.calls.length)).toStrictEqual([0, 5]);
    vi.advanceTimersToNextFrame();
    expect(painter).toHaveBeenCalledOnce();
    stop();
    page.changed();
    expect(watcher).toHaveBeenCalledTimes(5);
  });

  test('is told nothing of a chat that was left', () => {
    goTo('s');
    begin();
    const left = page.chat;
    goTo('other');
    const watcher = vi.fn<() => void>();
    page.onChange(watcher);
    left.choose(1, 2);
    expect(watcher).not.toHaveBeenCalled();
  });
});

describe('an answer is seen', () => {
  const seen = () => JSON.parse(localStorage.getItem('midsentence.seen') ?? '{}') as Record<string, number>;

  test('where it stands before the reader’s eyes', () => {
    goTo('s');
    begin();
    attaches();
    expect(seen()).toStrictEqual({ s: 1 });
  });

  test('not on a page that nobody looks at, but as soon as somebody does', () => {
    goTo('s');
    visibility = 'hidden';
    begin();
    attaches();
    expect(seen()).toStrictEqual({});
    visibility = 'visible';
    document.dispatchEvent(new Event('visibilitychange'));
    expect(seen()).toStrictEqual({ s: 1 });
  });
});

describe('a network that comes back', () => {
  test('ends a wait, and sends what failed for want of it', async () => {
    goTo('s');
    begin();
    attaches();
    page.chat.ask('Well?');
    await posts.lose();
    FakeEventSource.last.breaks();
    FakeEventSource.last.breaks();
    const before = FakeEventSource.all.length;
    dispatchEvent(new Event('online'));
    await taken();
    expect(FakeEventSource.all).toHaveLength(before + 1);
    expect(posts.texts).toStrictEqual(['Well?', 'Well?']);
  });
});

describe('a page that the browser puts aside', () => {
  test('has no connection meanwhile, and has it again when it comes back', () => {
    goTo('s');
    begin();
    attaches();
    dispatchEvent(new Event('pagehide'));
    expect(FakeEventSource.alive).toHaveLength(0);
    dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
    expect(FakeEventSource.last.cursor).toBe('1.1-9');
  });
});
