// The models that the server offers. If the list cannot be loaded, the page works without a choice.

import { type Offered, Refusal, listModels } from './transport/api';

export class Models {
  /** In the server's order; empty before the list is loaded. */
  offered: readonly Offered[] = [];
  isLoaded = false;
  readonly #changed: () => void;

  /** `changed` is called when the list was loaded. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  async load(): Promise<void> {
    try {
      this.offered = await listModels();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return;
    }
    this.isLoaded = true;
    this.#changed();
  }

  /** Whether a reader has a choice. */
  get isChoice(): boolean {
    return this.offered.length > 1;
  }

  offers(name: string): boolean {
    return this.offered.some((model) => model.name === name);
  }

  /** The model that answers a message which names none. */
  get default(): string | undefined {
    return (this.offered.find((model) => model.default) ?? this.offered[0])?.name;
  }
}
