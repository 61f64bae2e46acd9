// Web Storage: `tabStore` outlives a reload, and `sharedStore` is shared by all tabs of this browser. A browser may
// forbid storage, or have no room left. The page then works without it, and can tell the reader.

const PREFIX = 'midsentence.';

export interface Store {
  get(name: string): unknown;
  /** False if the value could not be stored. */
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
        // Where storage is forbidden, there is nothing to remove.
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

// A function, since reading `sessionStorage` itself throws where storage is forbidden.
export const tabStore = storeIn(() => sessionStorage);
export const sharedStore = storeIn(() => localStorage);

/** Calls `changed` when another tab changes the shared value. Returns a function that stops it. */
export function onShared(name: string, changed: () => void): () => void {
  const listen = ({ key }: StorageEvent) => {
    // `key` is null if another tab cleared the storage.
    if (key === null || key === PREFIX + name) changed();
  };
  addEventListener('storage', listen);
  return () => removeEventListener('storage', listen);
}
