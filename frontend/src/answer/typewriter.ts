// Decides how much of the text that has arrived is shown: bursts become an even flow that is never far behind.

// All text is on the screen within 250 ms of its arrival. The typewriter aims at less, since a paint can be late.
const AIM = 180;

interface Arrival {
  readonly length: number;
  readonly due: number;
}

export class Typewriter {
  /** How many characters are shown. */
  shown: number;
  private arrivals: Arrival[] = [];

  constructor(shown: number) {
    this.shown = shown;
  }

  /**
   * `length` characters have arrived by `now`, in milliseconds. If `smooth` is true, they appear over several frames.
   */
  arrive(length: number, now: number, smooth: boolean): void {
    const last = this.arrivals.at(-1)?.length ?? this.shown;
    if (length > last || (!smooth && length > this.shown)) {
      this.arrivals.push({ length, due: smooth ? now + AIM : now });
    }
  }

  /** How many characters a paint at `now` shows if the next paint is `interval` ms later. */
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
