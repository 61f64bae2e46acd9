import type { Keeper } from '../../src/keeping/storage';

/** What a browser keeps, as long as the test runs. `isFull` forbids writing, as a quota does. */
export class Memory implements Keeper {
  readonly kept: Map<string, string>;
  isFull = false;

  constructor(kept: Map<string, string> = new Map()) {
    this.kept = kept;
  }

  recall(name: string): unknown {
    return JSON.parse(this.kept.get(name) ?? 'null');
  }

  remember(name: string, value: unknown): boolean {
    if (this.isFull) return false;
    this.kept.set(name, JSON.stringify(value));
    return true;
  }

  forget(name: string): void {
    this.kept.delete(name);
  }

  names(): string[] {
    return [...this.kept.keys()];
  }
}
