// Scrolls to the end while an answer grows, but only if the reader is at the end.

const NEAR_PX = 40;

export class AutoScroll {
  readonly #changed: () => void;
  #scroller: HTMLElement | null = null;
  #isFollowing = true;
  #isFar = false;
  #lastTop = 0;
  #lastDistance = 0;
  #resized: ResizeObserver | null = null;

  /** `changed` is called when `isFar` has changed. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Whether the end is out of sight. */
  get isFar(): boolean {
    return this.#isFar;
  }

  get isFollowing(): boolean {
    return this.#isFollowing;
  }

  readonly attach = (scroller: HTMLElement | null): void => {
    this.#resized?.disconnect();
    this.#scroller = scroller;
    if (scroller === null) return;
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    // The wheel event comes before the scroll event. Without it, a token that arrives between the two would scroll
    // back.
    scroller.addEventListener('wheel', ({ deltaY }) => deltaY < 0 && this.#stopFollowing(), { passive: true });
    // A phone's keyboard, or a text box that grows, reduces the height without a scroll event.
    this.#resized = new ResizeObserver(() => this.keep());
    this.#resized.observe(scroller);
  };

  /** Call after every paint. */
  readonly keep = (): void => {
    if (this.#isFollowing) this.toBottom();
    else this.#update();
  };

  readonly toBottom = (): void => {
    if (this.#scroller === null) return;
    this.#isFollowing = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#lastTop = this.#scroller.scrollTop;
    this.#update();
  };

  /** Adds content above without moving what the reader sees. */
  holding(change: () => void): void {
    const scroller = this.#scroller;
    if (scroller === null) return;
    this.#isFollowing = false;
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    change();
    requestAnimationFrame(() => {
      scroller.scrollTop = scroller.scrollHeight - fromEnd;
      this.#lastTop = scroller.scrollTop;
    });
  }

  #stopFollowing(): void {
    const scroller = this.#scroller;
    // At the top there is nothing to scroll up to.
    if (scroller !== null && scroller.scrollTop > 0) this.#isFollowing = false;
  }

  /** Any move upwards stops the following. A threshold alone would pull a slow finger back with each token. */
  #scrolled(): void {
    const { scrollTop } = this.#scroller!;
    const moved = scrollTop - this.#lastTop;
    this.#lastTop = scrollTop;
    // Two kinds of scroll must not undo a wheel event: the page's own, whose event arrives a frame late, and the
    // browser's scroll anchoring. Neither moves nearer to the end.
    const isNearer = this.#distance < this.#lastDistance;
    if (moved < 0) this.#isFollowing = this.#distance <= 1;
    else if (moved > 0 && isNearer) this.#isFollowing ||= this.#distance <= NEAR_PX;
    this.#update();
  }

  #update(): void {
    this.#lastDistance = this.#distance;
    const isFar = !this.#isFollowing && this.#lastDistance > NEAR_PX;
    if (isFar === this.#isFar) return;
    this.#isFar = isFar;
    this.#changed();
  }

  get #distance(): number {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller!;
    return scrollHeight - scrollTop - clientHeight;
  }
}
