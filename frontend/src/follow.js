// Keeps the newest words in sight, but only of a reader who stands at the bottom.

const NEAR_PX = 40;

export class Follower {
  #scroller;
  #jump;
  #following = true;
  #lastTop = 0;

  constructor(scroller, jump) {
    this.#scroller = scroller;
    this.#jump = jump;
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    // A phone's keyboard, or a text box that grows, takes from the height without any scrolling.
    new ResizeObserver(() => this.keep()).observe(scroller);
    jump.addEventListener('click', () => this.toBottom());
  }

  /** Call after every paint. */
  keep() {
    if (this.#following) this.toBottom();
    else this.#tell();
  }

  toBottom() {
    this.#following = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#lastTop = this.#scroller.scrollTop;
    this.#tell();
  }

  /** The least move upwards is a wish to stay: nearness alone would pull a slow finger back with every token. */
  #scrolled() {
    const { scrollTop } = this.#scroller;
    const up = scrollTop < this.#lastTop;
    this.#lastTop = scrollTop;
    this.#following = this.#below <= (up ? 1 : NEAR_PX);
    this.#tell();
  }

  #tell() {
    this.#jump.hidden = this.#following || this.#below <= NEAR_PX;
  }

  get #below() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }
}
