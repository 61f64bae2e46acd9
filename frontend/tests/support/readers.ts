// The tabs of a browser that read one session of a server.

import { expect, onTestFinished, vi } from 'vitest';

import { Chat } from '../../src/chat';
import { Outbox } from '../../src/storage/outbox';
import { Browser, type Tab } from './browser';
import { Memory } from './memory';
import { Server, sourceOf } from './server';

export const TABS = 12;

export let browser: Browser;
export let server: Server;

/** Prepares a test, with latencies in milliseconds; call it in `beforeEach`. Undone when the test is over. */
export function prepareReaders(latency: () => number = () => 1): void {
  vi.useFakeTimers({ now: 0 });
  server = new Server();
  browser = new Browser(latency);
  browser.onGone = (tab) => {
    for (const stream of server.streams) if (stream.tab === tab) stream.close();
  };
  vi.stubGlobal('EventSource', sourceOf(server));
  vi.stubGlobal('fetch', async () => new Response('{}'));
  onTestFinished(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });
}

/** A tab that reads the session. */
export class Reader {
  readonly tab: Tab;
  readonly chat: Chat;
  readonly kinds: string[] = [];

  constructor(tab: Tab) {
    this.tab = tab;
    const identity = { name: tab.name, gone: async () => [] };
    this.chat = tab.do(() => {
      const outbox = new Outbox(identity, { changed: () => {}, accepted: () => {}, failed: () => {} }, new Memory());
      return new Chat('s', tab.name, outbox, {
        changed: () => this.#noted(),
        listed: () => {},
        model: () => undefined,
      });
    });
    tab.do(() => this.chat.open());
  }

  get kind(): string | undefined {
    return this.chat.connection?.kind;
  }

  get messages() {
    return this.chat.conversation.messages;
  }

  show(isVisible: boolean): void {
    if (this.tab.isVisible === isVisible) return;
    this.tab.isVisible = isVisible;
    this.tab.run(() => this.chat.visibilityChanged());
  }

  close(): void {
    this.tab.do(() => this.chat.close());
    this.tab.kill();
  }

  #noted(): void {
    if (this.kind !== undefined && this.kind !== this.kinds.at(-1)) this.kinds.push(this.kind);
  }
}

export const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);
export const opened = (count: number) => Array.from({ length: count }, () => new Reader(browser.open()));
/** The streams of tabs that are not frozen: nobody can close the stream of a frozen tab. */
export const streams = () => [...server.streams].filter(({ tab }) => !tab.isFrozen);
export const leader = (readers: readonly Reader[]) => readers.find(({ tab }) => streams()[0]?.tab === tab)!;

export function allHaveAll(readers: readonly Reader[], hint = ''): void {
  for (const { messages, tab } of readers) expect(messages, `${tab.name} ${hint}`).toStrictEqual(server.messages);
}

export function talk(words: number): void {
  for (let word = 0; word < words; word += 1) server.say(`${server.log.length} `);
}
