// When an answer is painted, and how much of it: once a frame at most, at the typewriter's pace, and never so often that the
// page has no time for anything else.

import { cutAt, withoutHalf } from './markdown/textSplitting';
import { normalise } from './markdown/normalise';
import { Pace } from './typewriter';
import { Settling } from './markdown/incrementalParser';
import type { Node } from './markdown/syntaxTree';

const FRAME = 16;
// A paint is followed by a rest of three times its cost, so that a slow device stays usable; never by one that a reader sees.
const REST = 3;
const LONGEST_REST = 150;
// How many characters one paint adds at most. More is there at once only when a long answer is opened, or come back to, and would
// hold the page up; the next paints add the rest.
const PORTION = 12_000;
// How much of a frame the last parse takes.
const SLICE = 12;

export class Painter {
  /** What is to be seen. */
  nodes: readonly Node[] = [];
  private settling = new Settling();
  private pace = new Pace(0);
  private ending: ReturnType<Settling['finishing']> | null = null;
  private finished = false;
  private text: string;
  private open: boolean;
  private frame = 0;
  private last = 0;
  private rest = 0;
  private readonly onNodes: (nodes: readonly Node[]) => void;

  constructor(text: string, open: boolean, onNodes: (nodes: readonly Node[]) => void) {
    this.onNodes = onNodes;
    this.text = normalise(text);
    this.open = open;
    this.begin();
  }

  /** The text is now this; `smooth` says whether it may take its time to appear. */
  update(text: string, open: boolean, smooth: boolean): void {
    const next = normalise(text);
    const goesOn = next.startsWith(this.text) && !(open && !this.open);
    this.text = next;
    this.open = open;
    if (goesOn) {
      this.pace.arrive(next.length, performance.now(), smooth);
    } else {
      // A takeover began anew, or a snapshot told otherwise: nothing of what was parsed holds.
      this.begin();
      this.onNodes(this.nodes);
    }
    this.paintSoon();
  }

  /** All that has arrived at once: what a reader comes back to must not be typed for them. */
  catchUp(): void {
    this.pace.arrive(this.text.length, performance.now(), false);
    this.paintSoon();
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  /** What is there at the start is not typed. */
  private begin(): void {
    this.settling = new Settling();
    this.pace = new Pace(0);
    this.ending = null;
    this.finished = !this.open && this.text.length <= PORTION;
    if (this.finished) {
      this.pace.show(this.text.length);
      this.nodes = this.settling.finish(this.text);
    } else {
      this.compute(cutAt(this.text, 0, PORTION));
      this.pace.arrive(this.text.length, performance.now(), false);
    }
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

  private paintSoon(): void {
    const behind = this.pace.shown < this.text.length || (!this.open && !this.finished);
    if (behind && this.frame === 0) this.frame = requestAnimationFrame((now) => this.paint(now));
  }

  private paint(now: number): void {
    this.frame = 0;
    if (now - this.last >= this.rest) {
      this.last = now;
      const began = performance.now();
      const { shown } = this.pace;
      const goal = Math.min(this.pace.next(now, Math.max(FRAME, this.rest) + FRAME), shown + PORTION);
      if (this.compute(cutAt(this.text, shown, goal))) this.onNodes(this.nodes);
      this.restAfter(began);
    }
    this.paintSoon();
  }

  // What a paint costs is known when the browser has laid it out and drawn it: a message is delivered after that.
  private restAfter(began: number): void {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      this.rest = Math.min(LONGEST_REST, REST * (performance.now() - began));
      port1.close();
    };
    port2.postMessage(null);
  }
}
