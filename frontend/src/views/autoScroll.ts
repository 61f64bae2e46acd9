// Keeps the newest words in sight, but only of a reader who stands at the bottom.

const NEAR_PX = 40;

export class AutoScroll {
  readonly #changed: () => void;
  #scroller: HTMLElement | null = null;
  #isFollowing = true;
  #isFar = false;
  #lastTop = 0;
  #lastBelow = 0;
  #resized: ResizeObserver | null = null;

  /** `changed` tells that `isFar` did. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Whether the newest words are out of sight. */
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
    // The wheel says what is wished before anything has moved; a token that came between would pull the reader back.
    scroller.addEventListener('wheel', ({ deltaY }) => deltaY < 0 && this.#letGo(), { passive: true });
    // A phone's keyboard, or a text box that grows, takes from the height without any scrolling.
    this.#resized = new ResizeObserver(() => this.keep());
    this.#resized.observe(scroller);
  };

  /** Call after every paint. */
  readonly keep = (): void => {
    if (this.#isFollowing) this.toBottom();
    else this.#tell();
  };

  readonly toBottom = (): void => {
    if (this.#scroller === null) return;
    this.#isFollowing = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#lastTop = this.#scroller.scrollTop;
    this.#tell();
  };

  /** Show more above without moving what is read. */
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

  #letGo(): void {
    const scroller = this.#scroller;
    // Where there is nothing to scroll there is nothing to let go of.
    if (scroller !== null && scroller.scrollTop > 0) this.#isFollowing = false;
  }

  /** The least move upwards is a wish to stay: nearness alone would pull a slow finger back with every token. */
  #scrolled(): void {
    const { scrollTop } = this.#scroller!;
    const moved = scrollTop - this.#lastTop;
    this.#lastTop = scrollTop;
    // The page's own move, of which it is told a frame late, or the browser's, which holds what is read in its place, must not
    // take back what the wheel has said since: neither leads nearer to the end.
    const isNearer = this.#below < this.#lastBelow;
    if (moved < 0) this.#isFollowing = this.#below <= 1;
    else if (moved > 0 && isNearer) this.#isFollowing ||= this.#below <= NEAR_PX;
    this.#tell();
  }

  #tell(): void {
    this.#lastBelow = this.#below;
    const isFar = !this.#isFollowing && this.#lastBelow > NEAR_PX;
    if (isFar === this.#isFar) return;
    this.#isFar = isFar;
    this.#changed();
  }

  get #below(): number {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller!;
    return scrollHeight - scrollTop - clientHeight;
  }
}
