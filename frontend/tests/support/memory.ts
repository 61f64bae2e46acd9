import type { Store } from '../../src/storage/webStorage';

/** A store in memory. `isFull` makes writing fail, as an exceeded quota does. */
export class Memory implements Store {
  readonly kept: Map<string, string>;
  isFull = false;

  constructor(kept: Map<string, string> = new Map()) {
    this.kept = kept;
  }

  get(name: string): unknown {
    return JSON.parse(this.kept.get(name) ?? 'null');
  }

  set(name: string, value: unknown): boolean {
    if (this.isFull) return false;
    this.kept.set(name, JSON.stringify(value));
    return true;
  }

  remove(name: string): void {
    this.kept.delete(name);
  }

  keys(): string[] {
    return [...this.kept.keys()];
  }
}
