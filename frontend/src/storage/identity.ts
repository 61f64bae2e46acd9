// The identity of this tab, which outlives reloads, and a way to find out which tabs are gone.

import { newKey } from '../transport/api';
import { tabStore } from './webStorage';

const NAME = 'tab';
const LOCK = 'midsentence.tab.';

export interface Identity {
  name: string;
  /**
   * Which of these tabs are gone. Without Web Locks the answer is none: to wait for a dead tab does less harm than to
   * act for a living one.
   */
  gone: (names: readonly string[]) => Promise<string[]>;
}

export async function identity(): Promise<Identity> {
  const kept = tabStore.get(NAME);
  // A duplicated tab begins with a copy of the first tab's storage, its name included.
  const name = typeof kept === 'string' && (await hold(kept)) ? kept : await anew();
  tabStore.set(NAME, name);
  return { name, gone };
}

async function anew(): Promise<string> {
  const name = newKey();
  await hold(name);
  return name;
}

/** Claims the name for this tab until it closes. True if it succeeded, or if the browser has no Web Locks. */
async function hold(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const held = locks()?.request(LOCK + name, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    });
    if (held === undefined) resolve(true);
    // A browser that forbids storage forbids locks, too. The page must start all the same.
    held?.catch(() => resolve(true));
  });
}

async function gone(names: readonly string[]): Promise<string[]> {
  const snapshot =
    names.length === 0
      ? undefined
      : await locks()
          ?.query()
          .catch(() => undefined);
  if (snapshot === undefined) return [];
  const alive = new Set(snapshot.held?.map((lock) => lock.name));
  return names.filter((name) => !alive.has(LOCK + name));
}

/** Web Locks exist only in secure contexts (W3C Web Locks, 2). */
function locks(): LockManager | undefined {
  return navigator.locks;
}
