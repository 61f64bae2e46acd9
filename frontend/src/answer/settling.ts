// A growing text into a tree whose settled part is never looked at again.
//
// Parsing all of it at every paint costs the square of its length. So a block is parsed once more when the next has begun,
// and then kept; and since one list, table, fence or paragraph may be the whole answer, those settle from within: items, rows,
// chunks of lines, pieces of text. What is settled early is judged by what stood before it, so the end parses all once more.

import type { Token } from 'markdown-it';

import { OpenFence } from './openFence';
import { heal } from './heal';
import { isClosed, parse, treeOf, type Context } from './markdown';
import { reuseAll, type Element, type Node } from './tree';

// A tail shorter than this is not worth a parse that asks what of it is settled.
const WORTH = 400;
// A paragraph is cut from this length on, and with a mark left open in it (`*`, `[`) from the second.
const LONG = 1_200;
const FORCED = 4_000;
// Takes the place of what stands before the tail of a cut paragraph, so that its first line is text whatever it looks like. It
// is punctuation, so that emphasis can begin behind it as it can behind the end of a sentence.
const ELLIPSIS = '\u2E31';

// A list, table or paragraph that has settled parts and may grow on.
interface Open {
  readonly kind: 'list' | 'table' | 'paragraph';
  readonly prefix: string;
  readonly element: Element;
}

interface Span { readonly token: Token; readonly from: number; readonly to: number; readonly line: number }

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
  private settled: Node[] = [];
  private from = 0;
  private open: Open | null = null;
  private fence: OpenFence | null = null;
  private due = WORTH;
  private shown: readonly Node[] = [];

  /** The tree of `text`, which begins with every text that was given before, and is not all yet. */
  grow(text: string): readonly Node[] {
    this.settle(text);
    return this.show([...this.settled, ...this.tail(text)]);
  }

  /** The tree of the whole text, in which link definitions count wherever they stand. */
  finish(text: string): readonly Node[] {
    return this.show(treeOf(parse(text, { growing: false }), text, false));
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
    if (last === undefined || line === undefined || (kind === 'list' ? starts.length < 2 : starts.length < 2)) return false;
    const at = shift + offsetOfLine(source, line);
    if (at <= this.from) return false;
    const kept = kind === 'list' ? [...tokens.slice(0, last), ...tokens.slice(-1)] : tokens;
    const joined = this.joined(kept, source)[0];
    if (joined?.kind !== 'element') return false;
    const prefix = kind === 'list' ? '' : source.slice(offsetOfLine(source, tokens[0]?.map?.[0] ?? 0), offsetOfLine(source, (tokens[0]?.map?.[0] ?? 0) + 2));
    this.open = { kind, prefix, element: joined };
    this.advance(at);
    return true;
  }

  /** A long paragraph is cut before its last piece of plain text, which stands in the source letter for letter. */
  private settleParagraph(text: string): boolean {
    const rest = text.slice(this.from);
    if (rest.length < LONG) return false;
    const source = this.prefix() + rest;
    const raw = withoutPrefix(parse(source, { growing: true, references: Object.create(this.references) as typeof this.references }), this.open);
    if (spansOf(raw).length !== 1 || raw[0]?.type !== 'paragraph_open') return false;
    const paragraph = treeOf(raw, source, true)[0];
    if (paragraph?.kind !== 'element') return false;
    const children = paragraph.children;
    let kept = children.length;
    let at = rest.length;
    for (const last = children.at(kept - 1); last?.kind === 'text' && kept === children.length; kept -= 1) {
      if (!rest.endsWith(last.text)) return false;
      at -= last.text.length;
    }
    if (kept === children.length || kept === 0 || at < LONG / 2) return false;
    const marked = children.slice(0, kept).some((node) => node.kind === 'text' && /[*_~`[$\\<]/.test(node.text));
    if (marked && rest.length < FORCED) return false;
    const element = this.open?.kind === 'paragraph' ? joinedElement(this.open, { ...paragraph, children: children.slice(0, kept) }) : { ...paragraph, children: children.slice(0, kept) };
    if (this.open !== null && this.open.kind !== 'paragraph') return false;
    this.open = { kind: 'paragraph', prefix: ELLIPSIS, element };
    this.advance(this.from + at);
    return true;
  }
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
