// A growing text into a tree whose settled part is never looked at again.
//
// Parsing all of it at every paint costs the square of its length. So a block is parsed once more when the next has begun,
// and then kept; and since one list, table, fence or paragraph may be the whole answer, those settle from within: items, rows,
// chunks of lines, pieces of text. What is settled early is judged by what stood before it, so the end parses all once more.

import type { Token } from 'markdown-it';

import { OpenFence } from './openFence';
import { cutAt } from './textSplitting';
import { heal } from './unclosedMarks';
import { fill, isClosed, outline, parse, treeOf, type Context } from './parser';
import { reuseAll, type Element, type Node } from './syntaxTree';

// A tail shorter than this is not worth a parse that asks what of it is settled.
const WORTH = 400;
// A paragraph is cut from this length on, and with a mark left open in it (`*`, `[`) from the second.
const LONG = 1_200;
const FORCED = 4_000;
// And from this length on anywhere.
const HOPELESS = 8_000;
// How much the end parses in one step.
const STEP = 4_000;
// Takes the place of what stands before the tail of a cut paragraph, so that its first line is text whatever it looks like. It
// is punctuation, so that emphasis can begin behind it as it can behind the end of a sentence.
const ELLIPSIS = '\u2E31';

// A list, table or paragraph that has settled parts and may grow on.
interface Open {
  readonly kind: 'list' | 'table' | 'paragraph';
  readonly prefix: string;
  readonly element: Element;
}

interface Span {
  readonly token: Token;
  readonly from: number;
  readonly to: number;
  readonly line: number;
}

function spansOf(tokens: readonly Token[]): Span[] {
  const spans: Span[] = [];
  let from = 0;
  let depth = 0;
  tokens.forEach((token, i) => {
    if (depth === 0) from = i;
    depth += token.nesting;
    const first = tokens[from];
    if (depth === 0 && first !== undefined) spans.push({ token: first, from, to: i + 1, line: first.map?.[0] ?? 0 });
  });
  return spans;
}

function offsetOfLine(source: string, line: number): number {
  let at = 0;
  for (let i = 0; i < line; i += 1) at = source.indexOf('\n', at) + 1 || source.length;
  return at;
}

export class Settling {
  private readonly references: NonNullable<Context['references']> = {};
  private readonly settled: Node[] = [];
  private from = 0;
  private open: Open | null = null;
  private fence: OpenFence | null = null;
  private due = WORTH;
  private shown: readonly Node[] = [];

  /** The tree of `text`, which begins with every text that was given before, and is not all yet. */
  grow(text: string): readonly Node[] {
    const before = { settled: this.settled.length, open: this.open };
    this.settle(text);
    const shown = this.show([...this.settled, ...this.tail(text)]);
    this.adopt(shown, before);
    return shown;
  }

  /** The tree of the whole text, in which link definitions count wherever they stand. */
  finish(text: string): readonly Node[] {
    const steps = this.finishing(text);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }

  /** The same in steps of a few milliseconds, between which others may have their turn. */
  *finishing(text: string): Generator<undefined, readonly Node[], undefined> {
    const context: Context = { growing: false };
    const tokens = outline(text, context);
    yield;
    let from = 0;
    let length = 0;
    for (const [i, token] of tokens.entries()) {
      length += token.content.length;
      if (length < STEP && i < tokens.length - 1) continue;
      fill(tokens.slice(from, i + 1), context);
      yield;
      from = i + 1;
      length = 0;
    }
    return this.show(treeOf(tokens, text, false));
  }

  private show(nodes: readonly Node[]): readonly Node[] {
    this.shown = reuseAll(this.shown, nodes);
    return this.shown;
  }

  private tail(text: string): Node[] {
    if (this.fence !== null) return [this.fence.node(text)];
    const source = this.prefix() + heal(text.slice(this.from));
    // What a half-typed definition says must not last, and the first of a name wins: so this parse writes into its own.
    const context: Context = { growing: true, references: Object.create(this.references) as typeof this.references };
    return this.joined(withoutPrefix(parse(source, context), this.open), source);
  }

  private prefix(): string {
    return this.open?.prefix ?? '';
  }

  /** The tree of a parse that began with the prefix of what is open: its first block goes on with the settled parts. */
  private joined(tokens: readonly Token[], source: string): Node[] {
    const nodes = treeOf(tokens, source, true);
    const open = this.open;
    if (open === null) return nodes;
    const first = nodes[0];
    if (first?.kind !== 'element' || first.tag !== open.element.tag) return [open.element, ...nodes];
    return [joinedElement(open, first), ...nodes.slice(1)];
  }

  private settle(text: string): void {
    while (this.fence === null ? text.length - this.from >= this.due || this.mayBeFence(text) : this.fence.feed(text)) {
      if (this.fence !== null) {
        this.settled.push(this.fence.node(text));
        this.advance(this.fence.end);
        this.fence = null;
        continue;
      }
      if (this.settleBlocks(text) || this.settleParagraph(text)) continue;
      // Nothing settled: look again when the tail has grown by half, which keeps the sum of all looks linear.
      this.due = Math.max(WORTH, Math.ceil((text.length - this.from) * 1.5));
      return;
    }
  }

  // What is kept is the very object that is shown: were it an equal one, every later paint would compare the two in full.
  private adopt(shown: readonly Node[], before: { settled: number; open: Open | null }): void {
    this.settled.splice(before.settled, Infinity, ...shown.slice(before.settled, this.settled.length));
    const { open } = this;
    const element = shown[this.settled.length];
    if (open === null || open === before.open || element?.kind !== 'element') return;
    this.open = {
      ...open,
      element: { ...open.element, children: element.children.slice(0, open.element.children.length) },
    };
  }

  private advance(to: number): void {
    this.from = to;
    this.due = WORTH;
  }

  // A fence is worth entering at once: its lines need no parsing.
  private mayBeFence(text: string): boolean {
    if (this.open !== null || text.length - this.from > WORTH) return false;
    return /^ {0,3}(`{3,}|~{3,})[^\n]*\n/.test(text.slice(this.from, this.from + WORTH));
  }

  private settleBlocks(text: string): boolean {
    // Only whole lines say where a block ends: `- a\n-` is two items, `- a\n-5` is one.
    const rest = text.slice(this.from, text.lastIndexOf('\n') + 1);
    const source = this.prefix() + rest;
    const raw = parse(source, { growing: true, references: this.references });
    const spans = spansOf(raw);
    const last = spans.at(-1);
    if (last === undefined) return false;
    const shift = this.from - this.prefix().length;
    if (spans.length > 1) {
      const tokens = withoutPrefix(raw.slice(0, last.from), this.open);
      this.settled.push(...this.joined(tokens, source));
      this.open = null;
      this.advance(shift + offsetOfLine(source, last.line));
      return true;
    }
    if (last.token.type === 'fence') return this.enterFence(last.token, source, shift);
    const part = last.token.type.endsWith('list_open') ? 'list' : last.token.type === 'table_open' ? 'table' : null;
    return part !== null && this.settleParts(part, raw, source, shift);
  }

  private enterFence(token: Token, source: string, shift: number): boolean {
    if (this.open !== null || isClosed(token, source.split('\n'))) return false;
    const at = offsetOfLine(source, token.map?.[0] ?? 0);
    this.fence = OpenFence.at(source, at, shift, token);
    return this.fence !== null;
  }

  /** All items but the last, all rows. */
  private settleParts(kind: 'list' | 'table', tokens: Token[], source: string, shift: number): boolean {
    const depth = kind === 'list' ? 1 : 2;
    const opening = kind === 'list' ? 'list_item_open' : 'tr_open';
    const starts = tokens.flatMap((token, i) => (token.type === opening && token.level === depth ? [i] : []));
    const last = starts.at(-1);
    const line = last === undefined ? undefined : tokens[last]?.map?.[kind === 'list' ? 0 : 1];
    if (last === undefined || line === undefined || starts.length < 2) return false;
    const at = shift + offsetOfLine(source, line);
    if (at <= this.from) return false;
    const kept = kind === 'list' ? [...tokens.slice(0, last), ...tokens.slice(-1)] : tokens;
    const joined = this.joined(kept, source)[0];
    if (joined?.kind !== 'element') return false;
    const prefix =
      kind === 'list'
        ? ''
        : source.slice(
            offsetOfLine(source, tokens[0]?.map?.[0] ?? 0),
            offsetOfLine(source, (tokens[0]?.map?.[0] ?? 0) + 2),
          );
    this.open = { kind, prefix, element: joined };
    this.advance(at);
    return true;
  }

  /** A long paragraph is cut before its last part, if that can be found in the source again. */
  private settleParagraph(text: string): boolean {
    const rest = text.slice(this.from).trimEnd();
    if (rest.length < LONG || (this.open !== null && this.open.kind !== 'paragraph')) return false;
    const children = this.paragraph(rest);
    const last = children?.at(-1);
    if (children === null || last === undefined) return false;
    const source = sourcesOf(last).find((one) => rest.endsWith(one));
    if (source !== undefined && (rest.length >= FORCED || !children.some(isMarked))) {
      return this.cutParagraph(children.slice(0, -1), rest.length - source.length);
    }
    if (rest.length < HOPELESS) return false;
    // Nothing in it can be found again (`&amp;`, ten thousand times): it is cut anyhow, and the end puts it right.
    const at = cutAt(rest, 0, rest.length - WORTH);
    const part = this.paragraph(rest.slice(0, at));
    return part !== null && this.cutParagraph(part, at);
  }

  /** What is in `rest` if it is one paragraph and nothing else. */
  private paragraph(rest: string): readonly Node[] | null {
    const source = this.prefix() + rest;
    const context: Context = { growing: true, references: Object.create(this.references) as typeof this.references };
    const tree = treeOf(withoutPrefix(parse(source, context), this.open), source, true);
    const only = tree[0];
    return tree.length === 1 && only?.kind === 'element' && only.tag === 'p' ? only.children : null;
  }

  private cutParagraph(children: readonly Node[], at: number): boolean {
    if (at < LONG / 2) return false;
    const element: Element = { kind: 'element', tag: 'p', children };
    this.open = {
      kind: 'paragraph',
      prefix: ELLIPSIS,
      element: this.open === null ? element : joinedElement(this.open, element),
    };
    this.advance(this.from + at);
    return true;
  }
}

/** How `node` may have been written, where that can be told. */
function sourcesOf(node: Node): string[] {
  const only = node.kind === 'element' || node.kind === 'link' ? node.children[0] : undefined;
  const inner = only?.kind === 'text' ? only.text : '';
  if (node.kind === 'text') return [node.text];
  if (node.kind === 'code') return [`\`${node.text}\``];
  if (inner === '') return [];
  if (node.kind === 'link') return [`[${inner}](${node.href})`, inner];
  return node.kind === 'element' && node.tag === 'strong' ? [`**${inner}**`] : [`*${inner}*`];
}

/** Whether a mark stands in a text that a later one may pair with. */
function isMarked(node: Node): boolean {
  return node.kind === 'text' && /[*_~`[$\\<]/.test(node.text);
}

function joinedElement(open: Open, next: Element): Element {
  const parts = open.kind === 'table' ? next.children.slice(1) : next.children;
  const children = [...open.element.children, ...parts];
  const { className: _, ...element } = open.element;
  const tight = open.kind === 'list' && open.element.className === 'tight' && next.className === 'tight';
  return { ...element, ...(tight ? { className: 'tight' } : null), children };
}

/** Takes the sign that stands for the settled part of a paragraph out of its first text again. */
function withoutPrefix(tokens: Token[], open: Open | null): Token[] {
  if (open?.kind !== 'paragraph') return tokens;
  const first = tokens.find((token) => token.type === 'inline')?.children?.[0];
  if (first !== undefined && first.content.startsWith(ELLIPSIS)) first.content = first.content.slice(ELLIPSIS.length);
  return tokens;
}
