// A name for this tab that lives as long as the tab, reloads included, and a way to tell which tabs are alive.

import { newKey } from '../transport/api';
import { tabStore } from './webStorage';

const NAME = 'tab';
const LOCK = 'midsentence.tab.';

export interface Identity {
  name: string;
  /** Which of these tabs are gone. None, where a browser cannot tell: better to wait for a tab that is dead than to act for one that lives. */
  gone: (names: readonly string[]) => Promise<string[]>;
}

export async function identity(): Promise<Identity> {
  const kept = tabStore.get(NAME);
  // A tab that was duplicated begins with a copy of what the first one kept, its name included.
  const name = typeof kept === 'string' && (await hold(kept)) ? kept : await anew();
  tabStore.set(NAME, name);
  return { name, gone };
}

async function anew(): Promise<string> {
  const name = newKey();
  await hold(name);
  return name;
}

/** Whether the name is this tab's, from now until it closes. Where a browser cannot tell, it is. */
async function hold(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const held = locks()?.request(LOCK + name, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    });
    if (held === undefined) resolve(true);
    // Storage that is forbidden forbids locks too; the page must begin all the same.
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

/** Web Locks exist on secure origins alone (W3C Web Locks, 2). */
function locks(): LockManager | undefined {
  return navigator.locks;
}
