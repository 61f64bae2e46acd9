import type { Store } from '../../src/storage/webStorage';

/** What a browser keeps, as long as the test runs. `isFull` forbids writing, as a quota does. */
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
