// How much of what has arrived is shown at a time: bursts become an even flow that is never far behind.

// Whatever arrived is on the screen within 250 ms. The flow aims at less, since a paint can come late.
const AIM = 180;

interface Arrival {
  readonly length: number;
  readonly due: number;
}

export class Pace {
  /** How many characters are shown. */
  shown: number;
  private arrivals: Arrival[] = [];

  constructor(shown: number) {
    this.shown = shown;
  }

  /** `length` characters are there now, `now` in ms; with `smooth` they may take their time to appear. */
  arrive(length: number, now: number, smooth: boolean): void {
    const last = this.arrivals.at(-1)?.length ?? this.shown;
    if (length > last || (!smooth && length > this.shown)) {
      this.arrivals.push({ length, due: smooth ? now + AIM : now });
    }
  }

  get idle(): boolean {
    return this.arrivals.length === 0;
  }

  /** How many characters a paint at `now` should show, if the next comes `interval` ms later. */
  next(now: number, interval: number): number {
    let goal = this.shown;
    for (const { length, due } of this.arrivals) {
      const left = due - now;
      const share = left <= interval ? 1 : interval / left;
      goal = Math.max(goal, this.shown + Math.ceil((length - this.shown) * share));
    }
    return goal;
  }

  /** `length` characters have been shown. */
  show(length: number): void {
    this.shown = length;
    this.arrivals = this.arrivals.filter((arrival) => arrival.length > length);
  }
}
