// A browser with several tabs of one page: Web Locks and BroadcastChannel by their specifications, timers, and tabs
// that are hidden, frozen, closed or killed. No callback is synchronous: each tab has a task queue, which stops while
// the tab is frozen. The current tab is tracked across promises, so that the page's code needs no seam for it.

import { AsyncLocalStorage } from 'node:async_hooks';
import { vi } from 'vitest';

const running = new AsyncLocalStorage<Tab>();

type Task = () => void;

export class Tab {
  readonly name: string;
  readonly browser: Browser;
  isVisible = true;
  isDead = false;
  #isFrozen = false;
  readonly #inbox: Task[] = [];
  #due = 0;

  constructor(browser: Browser, name: string) {
    this.browser = browser;
    this.name = name;
  }

  static get current(): Tab {
    const tab = running.getStore();
    if (tab === undefined) throw new Error('Page code runs in no tab.');
    return tab;
  }

  /** Runs page code in this tab. */
  do<Result>(action: () => Result): Result {
    return running.run(this, action);
  }

  /** Posts a task to this tab. Tasks keep their order, whatever their latency. */
  post(task: Task): void {
    this.#due = Math.max(this.#due, Date.now() + this.browser.latency());
    this.browser.later(() => this.run(task), this.#due - Date.now());
  }

  run(task: Task): void {
    if (this.isDead) return;
    if (this.isFrozen) this.#inbox.push(task);
    else this.do(task);
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  freeze(): void {
    this.#isFrozen = true;
  }

  /** Runs the waiting tasks one after the other, each with its microtasks. */
  async thaw(): Promise<void> {
    for (let task = this.#inbox.shift(); task !== undefined; task = this.#inbox.shift()) {
      if (!this.isDead) this.do(task);
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    }
    this.#isFrozen = false;
  }

  /** Kills the tab: no code of it runs any more, and the browser frees its locks and channels. */
  kill(): void {
    this.isDead = true;
    this.browser.forget(this);
  }
}

export class Browser {
  readonly tabs: Tab[] = [];
  readonly channels = new Set<FakeChannel>();
  readonly locks = new Map<string, LockState>();
  readonly latency: () => number;
  readonly later: (task: Task, milliseconds: number) => void;
  /** Called with each killed tab. */
  onGone: (tab: Tab) => void = () => {};

  /** Installs the browser; call it after the fake timers. Undone by `vi.unstubAllGlobals` and `vi.restoreAllMocks`. */
  constructor(latency: () => number = () => 0) {
    this.latency = latency;
    this.later = setTimeout.bind(globalThis) as (task: Task, milliseconds: number) => void;
    this.#timers();
    vi.stubGlobal('BroadcastChannel', FakeChannel);
    vi.spyOn(navigator, 'locks', 'get').mockImplementation(() => new FakeLocks(Tab.current) as unknown as LockManager);
    vi.spyOn(document, 'visibilityState', 'get').mockImplementation(() =>
      Tab.current.isVisible ? 'visible' : 'hidden',
    );
  }

  open(): Tab {
    const tab = new Tab(this, `tab-${this.tabs.length + 1}`);
    this.tabs.push(tab);
    return tab;
  }

  forget(tab: Tab): void {
    for (const channel of this.channels) if (channel.tab === tab) this.channels.delete(channel);
    for (const [name, state] of this.locks) state.abandon(tab, name);
    this.onGone(tab);
  }

  /** A timer belongs to its tab: it waits while the tab is frozen, and does not fire if it was cleared by then. */
  #timers(): void {
    const [set, every, clear, clearEvery] = [setTimeout, setInterval, clearTimeout, clearInterval];
    const cleared = new Set<unknown>();
    const told = (start: typeof setTimeout, task: Task, milliseconds?: number) => {
      const tab = running.getStore();
      let isWaiting = false;
      const timer: unknown = start(() => {
        if (tab === undefined) task();
        if (tab === undefined || isWaiting) return;
        isWaiting = true;
        tab.run(() => {
          isWaiting = false;
          if (!cleared.has(timer)) task();
        });
      }, milliseconds);
      return timer;
    };
    vi.stubGlobal('setTimeout', (task: Task, milliseconds?: number) => told(set, task, milliseconds));
    vi.stubGlobal('setInterval', (task: Task, milliseconds?: number) =>
      told(every as typeof setTimeout, task, milliseconds),
    );
    vi.stubGlobal('clearTimeout', (timer: number) => {
      cleared.add(timer);
      clear(timer);
    });
    vi.stubGlobal('clearInterval', (timer: number) => {
      cleared.add(timer);
      clearEvery(timer);
    });
  }
}

/** A channel posts to all others of its name, never to itself (HTML standard, 9.5). */
class FakeChannel {
  readonly name: string;
  readonly tab = Tab.current;
  #heard: ((message: MessageEvent) => void) | null = null;

  constructor(name: string) {
    this.name = name;
    this.tab.browser.channels.add(this);
  }

  addEventListener(_: 'message', heard: (message: MessageEvent) => void): void {
    this.#heard = heard;
  }

  postMessage(note: unknown): void {
    const { channels } = this.tab.browser;
    if (!channels.has(this)) throw new DOMException('The channel is closed.', 'InvalidStateError');
    for (const channel of channels) {
      if (channel === this || channel.name !== this.name) continue;
      const data: unknown = structuredClone(note);
      channel.tab.post(() => channels.has(channel) && channel.#heard?.(new MessageEvent('message', { data })));
    }
  }

  close(): void {
    this.tab.browser.channels.delete(this);
  }
}

interface Request {
  tab: Tab;
  callback: (lock: object | null) => unknown;
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

/** One lock: its holder and its queue. */
class LockState {
  held: Request | null = null;
  readonly queue: Request[] = [];

  next(name: string): void {
    if (this.held !== null) return;
    this.held = this.queue.shift() ?? null;
    const request = this.held;
    if (request === null) return;
    const release = () => {
      if (this.held !== request) return;
      this.held = null;
      this.next(name);
    };
    request.tab.post(() => {
      // The lock was stolen before its holder was called.
      if (this.held !== request) return;
      Promise.resolve(request.callback({ name, mode: 'exclusive' }))
        .then(request.resolve, request.reject)
        .finally(release);
    });
  }

  steal(request: Request, name: string): void {
    const before = this.held;
    this.held = null;
    this.queue.unshift(request);
    before?.tab.post(() => before.reject(new DOMException('The lock was stolen.', 'AbortError')));
    this.next(name);
  }

  abandon(tab: Tab, name: string): void {
    this.queue.splice(0, Infinity, ...this.queue.filter((request) => request.tab !== tab));
    if (this.held?.tab !== tab) return;
    this.held = null;
    this.next(name);
  }
}

/** W3C Web Locks, exclusive locks only. */
class FakeLocks {
  readonly #tab: Tab;

  constructor(tab: Tab) {
    this.#tab = tab;
  }

  request(name: string, options: LockOptions, callback: Request['callback']): Promise<unknown> {
    const { signal, steal, ifAvailable } = options;
    if (signal !== undefined && (steal || ifAvailable)) {
      return Promise.reject(new DOMException('signal stands alone', 'NotSupportedError'));
    }
    return new Promise((resolve, reject) => {
      const { locks } = this.#tab.browser;
      const state = locks.get(name) ?? new LockState();
      locks.set(name, state);
      const request: Request = { tab: this.#tab, callback, resolve, reject };
      if (ifAvailable && (state.held !== null || state.queue.length > 0)) {
        this.#tab.post(() => resolve(callback(null)));
        return;
      }
      signal?.addEventListener('abort', () => {
        const at = state.queue.indexOf(request);
        if (at < 0) return;
        state.queue.splice(at, 1);
        reject(signal.reason as Error);
      });
      if (steal) {
        state.steal(request, name);
        return;
      }
      state.queue.push(request);
      state.next(name);
    });
  }

  async query(): Promise<LockManagerSnapshot> {
    const held = [...this.#tab.browser.locks].filter(([, state]) => state.held !== null);
    return { held: held.map(([name]) => ({ name, mode: 'exclusive' as const })), pending: [] };
  }
}
