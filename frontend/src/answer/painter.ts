// When an answer is painted, and how much of it: once a frame at most, at the typewriter's pace, and never so often that the
// page has no time for anything else.

import { cutAt, withoutHalf } from './graphemes';
import { normalise } from './normalise';
import { Pace } from './pace';
import { Settling } from './settling';
import type { Node } from './tree';

// A paint is followed by a rest of three times its cost, so that a slow device stays usable; never by one that a reader sees.
const REST = 3;
const LONGEST_REST = 150;
// How much of a frame the last parse takes.
const SLICE = 12;

export class Painter {
  /** What is to be seen. */
  nodes: readonly Node[] = [];
  private settling = new Settling();
  private pace = new Pace(0);
  private text = '';
  private open = true;
  private finished = false;
  private ending: ReturnType<Settling['finishing']> | null = null;
  private frame = 0;
  private last = 0;
  private rest = 0;
  private readonly onNodes: (nodes: readonly Node[]) => void;

  constructor(text: string, open: boolean, onNodes: (nodes: readonly Node[]) => void) {
    this.onNodes = onNodes;
    this.text = normalise(text);
    this.open = open;
    this.showAll();
  }

  /** The text is now this; `smooth` says whether it may take its time to appear. */
  update(text: string, open: boolean, smooth: boolean): void {
    const next = normalise(text);
    const goesOn = next.startsWith(this.text);
    if (goesOn && next.length === this.text.length && open === this.open) return;
    const reopened = open && !this.open;
    this.text = next;
    this.open = open;
    if (!goesOn || reopened) {
      // A takeover began anew, or a snapshot told otherwise: nothing of what was parsed holds.
      this.settling = new Settling();
      this.pace = new Pace(0);
      this.ending = null;
      this.showAll();
      this.onNodes(this.nodes);
      return;
    }
    const now = performance.now();
    if (smooth) this.pace.arrive(next.length, now);
    else this.pace.show(next.length);
    this.schedule();
  }

  /** All that has arrived at once: what a reader comes back to must not be typed for them. */
  catchUp(): void {
    if (this.pace.idle && this.finished !== this.open) return;
    this.pace.show(this.text.length);
    this.schedule();
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  private showAll(): void {
    this.pace.show(this.text.length);
    this.nodes = this.open ? this.settling.grow(withoutHalf(this.text)) : this.settling.finish(this.text);
    this.finished = !this.open;
  }

  /** False while the last parse is under way. */
  private compute(length: number): boolean {
    this.pace.show(length);
    if (length < this.text.length || this.open) {
      this.nodes = this.settling.grow(withoutHalf(this.text.slice(0, length)));
      return true;
    }
    const until = performance.now() + SLICE;
    this.ending ??= this.settling.finishing(this.text);
    for (let step = this.ending.next(); ; step = this.ending.next()) {
      if (step.done === true) {
        this.nodes = step.value;
        this.finished = true;
        return true;
      }
      if (performance.now() >= until) return false;
    }
  }

  private schedule(): void {
    if (this.frame === 0) this.frame = requestAnimationFrame((now) => this.paint(now));
  }

  private paint(now: number): void {
    this.frame = 0;
    const since = now - this.last;
    if (since < this.rest) {
      this.schedule();
      return;
    }
    const began = performance.now();
    this.last = now;
    const goal = this.pace.next(now, Math.max(16, this.rest) + 16);
    if (!this.compute(cutAt(this.text, this.pace.shown, goal))) {
      this.schedule();
      return;
    }
    this.onNodes(this.nodes);
    // What a paint costs is known when the browser has laid it out and drawn it: a message is delivered after that.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      this.rest = Math.min(LONGEST_REST, REST * (performance.now() - began));
      port1.close();
    };
    port2.postMessage(null);
    if (!this.pace.idle || (!this.open && !this.finished)) this.schedule();
  }
}
