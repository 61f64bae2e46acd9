// What outlives a reload (`tab`) and what all tabs of this browser share (`shared`). A browser may forbid storage or have
// none left; then the page works, forgets, and can say so.

const PREFIX = 'midsentence.';

export interface Keeper {
  recall(name: string): unknown;
  /** False where nothing could be kept. */
  remember(name: string, value: unknown): boolean;
  forget(name: string): void;
  names(): string[];
}

function keeper(storage: () => Storage): Keeper {
  return {
    recall(name) {
      try {
        return JSON.parse(storage().getItem(PREFIX + name) ?? 'null') as unknown;
      } catch {
        return null;
      }
    },
    remember(name, value) {
      try {
        storage().setItem(PREFIX + name, JSON.stringify(value));
        return true;
      } catch {
        return false;
      }
    },
    forget(name) {
      try {
        storage().removeItem(PREFIX + name);
      } catch {
        // Nothing was kept there either.
      }
    },
    names() {
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
export const tab = keeper(() => sessionStorage);
export const shared = keeper(() => localStorage);

/** Call when another tab changed what is shared under this name. Returns how to stop listening. */
export function onShared(name: string, changed: () => void): () => void {
  const listen = ({ key }: StorageEvent) => {
    // Null where everything was cleared.
    if (key === null || key === PREFIX + name) changed();
  };
  addEventListener('storage', listen);
  return () => removeEventListener('storage', listen);
}
