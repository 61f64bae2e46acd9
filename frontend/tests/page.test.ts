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
  // A page keeps its listeners until its window closes, but the window of a test stays open.
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

/** Navigates as a link or the browser's back button does. */
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

describe('a page that starts', () => {
  test('opens the session that its address names', () => {
    history.replaceState(null, '', '#s%3F1');
    begin();
    expect(page.chat.session).toBe('s?1');
    expect(FakeEventSource.last.url).toBe('/sessions/s%3F1/events');
  });

  test('opens an address that cannot be decoded as it is', () => {
    history.replaceState(null, '', '#%E6%BA');
    expect(begin().chat.session).toBe('%E6%BA');
  });

  test('sends the messages of the page before it', async () => {
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
  test('names a new chat’s session from its 202 on, and the back button leads to a new chat', async () => {
    begin();
    const before = history.length;
    page.chat.ask('Well?');
    await posts.accept(1, 'new');
    expect(location.hash).toBe('#new');
    expect(history.length).toBe(before + 1);
  });

  test('does not change with a message of its session', async () => {
    goTo('s');
    begin();
    attaches();
    const before = history.length;
    page.chat.ask('Well?');
    await posts.accept(2, 's');
    expect([location.hash, history.length]).toStrictEqual(['#s', before]);
  });

  test.each(['', 's'])('does not change with a 202 that arrives while the reader leaves #%s', async (from) => {
    goTo(from);
    begin();
    page.chat.ask('Well?');
    await taken();
    // The address has changed, and the page was not notified yet.
    history.replaceState(null, '', '#other');
    await posts.accept(2, 's');
    expect(location.hash).toBe('#other');
  });

  test('opens another session and closes the one before', () => {
    goTo('s');
    begin();
    const [source] = FakeEventSource.all;
    goTo('other');
    expect(page.chat.session).toBe('other');
    expect(FakeEventSource.alive).toStrictEqual([FakeEventSource.last]);
    expect(source!.readyState).toBe(FakeEventSource.CLOSED);
  });
});

describe('an action of the reader', () => {
  test('shows its failure in the page’s language until the next action', async () => {
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

  test('is requested once if it is started twice', async () => {
    goTo('s');
    begin();
    void page.stop();
    void page.stop();
    await taken();
    expect(posts.all.map(({ path }) => path)).toStrictEqual(['/sessions/s/stop']);
  });

  test('is ignored in a new chat', async () => {
    begin();
    await page.stop();
    expect(posts.all).toHaveLength(0);
  });

  test('does not hide an unexpected error', async () => {
    begin();
    await expect(page.attempt('Stop', () => Promise.reject(new TypeError('a defect')))).rejects.toThrow('a defect');
  });

  test.each([
    ['s', ''],
    ['other', '#s'],
  ])('that removes %s leaves the address %j', async (removed, hash) => {
    goTo('s');
    begin();
    await page.remove(removed);
    expect(location.hash).toBe(hash);
  });
});

describe('the choice of a model', () => {
  const choose = (model: string) => localStorage.setItem('midsentence.preferences', JSON.stringify({ model }));
  const loaded = async (...models: string[]): Promise<Page> => {
    posts.models = models;
    begin();
    await taken();
    return page;
  };

  test('is the server’s default without one', async () => {
    await loaded('alpha', 'beta');
    expect([page.model, page.models.isChoice, page.models.default]).toStrictEqual([undefined, true, 'alpha']);
  });

  test('is remembered', async () => {
    await loaded('alpha', 'beta');
    page.prefer({ model: 'beta' });
    page.chat.close();
    await loaded('alpha', 'beta');
    expect(page.model).toBe('beta');
    page.chat.ask('Well?');
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'Well?', model: 'beta' });
  });

  test('counts before the list is loaded', () => {
    choose('beta');
    expect(begin().model).toBe('beta');
  });

  test('is forgotten if it is not offered any more', async () => {
    choose('beta');
    await loaded('alpha', 'gamma');
    expect([page.model, page.preferences.model]).toStrictEqual([undefined, null]);
    expect(localStorage.getItem('midsentence.preferences')).toContain('"model":null');
  });

  test('is not sent if there is only one', async () => {
    choose('alpha');
    await loaded('alpha');
    expect([page.model, page.models.isChoice]).toStrictEqual([undefined, false]);
  });

  test('is loaded again when a message’s model is refused', async () => {
    choose('beta');
    await loaded('alpha', 'beta', 'gamma');
    posts.models = ['alpha', 'gamma'];
    page.chat.ask('Well?');
    await posts.refuse(422, 'unknown_model');
    expect(page.models.offered.map(({ name }) => name)).toStrictEqual(['alpha', 'gamma']);
    expect(page.model).toBeUndefined();
  });

  test('does not disturb the page if the list cannot be loaded', async () => {
    begin();
    await taken();
    expect([page.model, page.models.isLoaded, page.models.isChoice]).toStrictEqual([undefined, false, false]);
  });
});

describe('a painter', () => {
  test('is called once a frame', () => {
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

  test('is not called for a closed chat', () => {
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

describe('an answer is marked as seen', () => {
  const seen = () => JSON.parse(localStorage.getItem('midsentence.seen') ?? '{}') as Record<string, number>;

  test('if the page is visible', () => {
    goTo('s');
    begin();
    attaches();
    expect(seen()).toStrictEqual({ s: 1 });
  });

  test('when a hidden page becomes visible', () => {
    goTo('s');
    visibility = 'hidden';
    begin();
    attaches();
    expect(seen()).toStrictEqual({});
    visibility = 'visible';
    document.dispatchEvent(new Event('visibilitychange'));
    expect(seen()).toStrictEqual({ s: 1 });
  });

  test('when its end arrives after the list that has it', async () => {
    goTo('s');
    begin();
    attaches();
    posts.listed = [{ session_id: 's', title: 's', state: 'idle', turn: 2, updated: 0 }];
    page.sessions.refresh();
    vi.advanceTimersByTime(200);
    await taken();
    expect([seen(), [...page.sessions.unread]]).toStrictEqual([{ s: 1 }, ['s']]);
    attaches('2.1-9', linear(2));
    expect([seen(), [...page.sessions.unread]]).toStrictEqual([{ s: 2 }, []]);
  });
});

describe('a network that returns', () => {
  test('ends the retry delay and sends the failed messages', async () => {
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

describe('a page in the back/forward cache', () => {
  test('has no stream, and opens one when it returns', () => {
    goTo('s');
    begin();
    attaches();
    dispatchEvent(new Event('pagehide'));
    expect(FakeEventSource.alive).toHaveLength(0);
    dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
    expect(FakeEventSource.last.cursor).toBe('1.1-9');
  });
});
