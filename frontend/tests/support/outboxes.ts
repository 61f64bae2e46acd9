// The outboxes of tabs that share one storage, and the server's side of their messages.

import { onTestFinished, vi } from 'vitest';

import { type Conversation, fresh } from '../../src/log/conversation';
import { Outbox, type OutboxListener, type Unsent } from '../../src/storage/outbox';
import { linear } from './entries';
import { Memory } from './memory';
import { Posts } from './posts';

export let posts: Posts;
/** The storage of all tabs, and the values in it. */
export let memory: Memory;
export let kept: Map<string, string>;
/** The names of the tabs that are not gone. */
export let living: Set<string>;
let listener: OutboxListener;

/** Prepares a test; call it in `beforeEach`. Undone when the test is over. Each outbox of the test calls `heard`. */
export function prepareOutboxes(heard: Partial<OutboxListener> = {}): void {
  posts = new Posts();
  kept = new Map();
  memory = new Memory(kept);
  living = new Set(['me']);
  listener = { changed: () => {}, accepted: () => {}, failed: () => {}, ...heard };
  vi.stubGlobal('fetch', posts.fetch);
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
}

/** The outbox of a tab that has just started, with the messages in its storage. */
export function outbox(name = 'me'): Outbox {
  const identity = { name, gone: async (names: readonly string[]) => names.filter((other) => !living.has(other)) };
  return new Outbox(identity, listener, memory);
}

export function conversation(messages = linear(1), queued: Conversation['queued'] = []): Conversation {
  return { ...fresh, messages, queued };
}

/** The messages of a session that the outbox has, and their states. */
export function states(box: Outbox, session: string | null = 's'): [string, Unsent['state']][] {
  return box.of(session).map(({ text, state }) => [text, state]);
}

/** The messages that a tab has in the storage. */
export function stored(tab: string): Unsent[] {
  return (memory.get(`outbox.${tab}`) ?? []) as Unsent[];
}
