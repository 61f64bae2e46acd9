// What outlives a reload (`tab`) and what all tabs of this browser share (`shared`). A browser may forbid storage or have
// none left; then the page works, forgets, and can say so.

const PREFIX = 'midsentence.';

export interface Store {
  get(name: string): unknown;
  /** False where nothing could be kept. */
  set(name: string, value: unknown): boolean;
  remove(name: string): void;
  keys(): string[];
}

function storeIn(storage: () => Storage): Store {
  return {
    get(name) {
      try {
        return JSON.parse(storage().getItem(PREFIX + name) ?? 'null') as unknown;
      } catch {
        return null;
      }
    },
    set(name, value) {
      try {
        storage().setItem(PREFIX + name, JSON.stringify(value));
        return true;
      } catch {
        return false;
      }
    },
    remove(name) {
      try {
        storage().removeItem(PREFIX + name);
      } catch {
        // Nothing was kept there either.
      }
    },
    keys() {
      try {
        return Object.keys(storage())
          .filter((name) => name.startsWith(PREFIX))
          .map((name) => name.slice(PREFIX.length));
      } catch {
        return [];
      }
    },
  };
}

// Merely to name the storage throws where it is forbidden.
export const tabStore = storeIn(() => sessionStorage);
export const sharedStore = storeIn(() => localStorage);

/** Call when another tab changed what is shared under this name. Returns how to stop listening. */
export function onShared(name: string, changed: () => void): () => void {
  const listen = ({ key }: StorageEvent) => {
    // Null where everything was cleared.
    if (key === null || key === PREFIX + name) changed();
  };
  addEventListener('storage', listen);
  return () => removeEventListener('storage', listen);
}
