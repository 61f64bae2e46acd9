// Decides when an answer is painted, and how much of it: once a frame at most, as fast as the typewriter types, and
// never so often that the page has no time for anything else.

import { cutAt, withoutHalf } from './markdown/textSplitting';
import { normalise } from './markdown/parser';
import { Typewriter } from './typewriter';
import { IncrementalParser } from './markdown/incrementalParser';
import type { Node } from './markdown/syntaxTree';

const FRAME = 16;
// After a paint, the scheduler rests for three times its duration, so that a slow device stays usable. A rest has an
// upper bound, so that no reader notices it.
const REST = 3;
const LONGEST_REST = 150;
// How many characters one paint adds at most. More arrive at once only if a reader opens a long answer or comes back to
// it. One paint of all would block the page, so the next paints add the rest.
const PORTION = 12_000;
// How many milliseconds of a frame the final parse takes.
const SLICE = 12;

export class PaintScheduler {
  /** The tree to show. */
  nodes: readonly Node[] = [];
  private parser = new IncrementalParser();
  private typewriter = new Typewriter(0);
  private ending: ReturnType<IncrementalParser['finishing']> | null = null;
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

  /** Sets the text. If `smooth` is true, new text appears over several frames. */
  update(text: string, open: boolean, smooth: boolean): void {
    const next = normalise(text);
    const goesOn = next.startsWith(this.text) && !(open && !this.open);
    this.text = next;
    this.open = open;
    if (goesOn) {
      this.typewriter.arrive(next.length, performance.now(), smooth);
    } else {
      // The answer began again after a takeover, or a snapshot has another text: nothing parsed so far is valid.
      this.begin();
      this.onNodes(this.nodes);
    }
    this.paintSoon();
  }

  /** Shows all text that has arrived: a reader who comes back to the tab must not wait for the typewriter. */
  catchUp(): void {
    this.typewriter.arrive(this.text.length, performance.now(), false);
    this.paintSoon();
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  /** Begins with the text at hand, which is shown without the typewriter. */
  private begin(): void {
    this.parser = new IncrementalParser();
    this.typewriter = new Typewriter(0);
    this.ending = null;
    this.finished = !this.open && this.text.length <= PORTION;
    if (this.finished) {
      this.typewriter.show(this.text.length);
      this.nodes = this.parser.finish(this.text);
    } else {
      this.compute(cutAt(this.text, 0, PORTION));
      this.typewriter.arrive(this.text.length, performance.now(), false);
    }
  }

  /** False while the final parse is not done. */
  private compute(length: number): boolean {
    this.typewriter.show(length);
    if (length < this.text.length || this.open) {
      this.nodes = this.parser.grow(withoutHalf(this.text.slice(0, length)));
      return true;
    }
    const until = performance.now() + SLICE;
    this.ending ??= this.parser.finishing(this.text);
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
    const behind = this.typewriter.shown < this.text.length || (!this.open && !this.finished);
    if (behind && this.frame === 0) this.frame = requestAnimationFrame((now) => this.paint(now));
  }

  private paint(now: number): void {
    this.frame = 0;
    if (now - this.last >= this.rest) {
      this.last = now;
      const began = performance.now();
      const { shown } = this.typewriter;
      const goal = Math.min(this.typewriter.next(now, Math.max(FRAME, this.rest) + FRAME), shown + PORTION);
      if (this.compute(cutAt(this.text, shown, goal))) this.onNodes(this.nodes);
      this.restAfter(began);
    }
    this.paintSoon();
  }

  // The cost of a paint includes layout and drawing. A message is delivered after these.
  private restAfter(began: number): void {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      this.rest = Math.min(LONGEST_REST, REST * (performance.now() - began));
      port1.close();
    };
    port2.postMessage(null);
  }
}
