// Web Storage that is forbidden or full, until the test is over.

import { onTestFinished } from 'vitest';

type Name = 'localStorage' | 'sessionStorage';

/** Forbids a storage: reading the property throws, as with blocked cookies. */
export function forbid(...names: Name[]): void {
  for (const name of names) {
    instead(name, () => {
      throw new DOMException('Access is denied for this document.', 'SecurityError');
    });
  }
}

/** Makes a storage full: its values stay readable, and writing throws. */
export function fill(name: Name): void {
  const storage = globalThis[name];
  const full = new Proxy(storage, {
    get(target, property) {
      if (property === 'setItem') return refuse;
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  instead(name, () => full);
}

function refuse(): never {
  throw new DOMException('The quota has been exceeded.', 'QuotaExceededError');
}

function instead(name: Name, get: () => Storage): void {
  const before = Object.getOwnPropertyDescriptor(globalThis, name)!;
  Object.defineProperty(globalThis, name, { configurable: true, get });
  onTestFinished(() => void Object.defineProperty(globalThis, name, before));
}
