// Parses a growing Markdown text in linear time.
//
// Parsing the whole text at every paint would cost the square of its length. So the parser commits the start of the
// text as soon as it can: a committed part is kept as a tree and never parsed again. Each paint parses only the tail
// behind it.
//
// What is committed, and when:
// - A top-level block, when the next one has begun.
// - Parts of a block that may be the whole answer: all items of a list but the last, all complete rows of a table, all
//   complete lines of a fence (openFence.ts), and the start of a long paragraph.
//
// A paragraph is the hard case, since a `*` in its first sentence may pair with a `*` in its tenth. It is cut before
// its last inline node, which may still grow. Three lengths of the tail decide when:
// - From CUT_FROM on, if no text in the tail has a character that later text may pair with.
// - From CUT_OPEN_MARKS_FROM on, even if there is such a character. Its pair then shows as typed until the end.
// - From CUT_ANYWHERE_FROM on, at any grapheme. The first two cuts need the offset of the last node in the source. The
//   parser gives none within a paragraph, so `possibleSources` writes the node as Markdown and compares it with the end
//   of the tail. That fails where the source was written in another way: `&amp;` is one character of text and five of
//   source.
//
// The tail of a cut block is parsed with a prefix, which makes it the same kind of block again:
// - A paragraph has PLACEHOLDER. Without it, a tail that begins with `- ` or `1. ` would become a list.
// - A table has its two header lines.
// - A list has none, since the tail begins with an item.
//
// If nothing can be committed, the next attempt waits until the tail is half as long again. The lengths of all attempts
// then form a geometric series, whose sum is linear in the length of the text.
//
// A commit can be wrong: a mark may close behind a cut, and a link may be used before it is defined. So `finish` parses
// the whole text once more. It reuses all nodes that are equal (syntaxTree.ts), so only the differences are drawn
// again.

import type { Token } from 'markdown-it';

import { OpenFence } from './openFence';
import { cutAt } from './textSplitting';
import { closeMarks } from './unclosedMarks';
import { fill, isClosed, outline, parse, treeOf, type Context } from './parser';
import { reuseAll, type Element, type Node } from './syntaxTree';

// The shortest tail, in characters, for which an attempt to commit pays.
const MIN_TAIL = 400;
// The lengths of the tail, in characters, from which a paragraph is cut: see above.
const CUT_FROM = 1_200;
const CUT_OPEN_MARKS_FROM = 4_000;
const CUT_ANYWHERE_FROM = 8_000;
// How many characters `finishing` parses in one step.
const STEP_CHARS = 4_000;
// Stands for the committed part of a paragraph. It is punctuation, since emphasis can open behind punctuation as it can
// behind the end of a sentence (CommonMark 6.2), and so rare that no answer has it (U+2E31, a word separator).
const PLACEHOLDER = '\u2E31';

// A list, table or paragraph that is committed in part and may grow.
interface OpenBlock {
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

export class IncrementalParser {
  private readonly references: NonNullable<Context['references']> = {};
  private readonly committed: Node[] = [];
  private tailStart = 0;
  private open: OpenBlock | null = null;
  private fence: OpenFence | null = null;
  private nextAttempt = MIN_TAIL;
  private shown: readonly Node[] = [];

  /** The tree of an unfinished text. `text` must begin with the text of the call before. */
  grow(text: string): readonly Node[] {
    const before = { committed: this.committed.length, open: this.open };
    this.commit(text);
    const shown = this.show([...this.committed, ...this.tail(text)]);
    this.keepShown(shown, before);
    return shown;
  }

  /** The tree of the finished text. A link definition counts wherever it is. */
  finish(text: string): readonly Node[] {
    const steps = this.finishing(text);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }

  /** `finish` in steps of a few milliseconds, so that the caller can let other work run between them. */
  *finishing(text: string): Generator<undefined, readonly Node[], undefined> {
    const context: Context = { growing: false };
    const tokens = outline(text, context);
    yield;
    let from = 0;
    let length = 0;
    for (const [i, token] of tokens.entries()) {
      length += token.content.length;
      if (length < STEP_CHARS && i < tokens.length - 1) continue;
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
    const source = this.prefix() + closeMarks(text.slice(this.tailStart));
    // A half-typed link definition must not stay, and the first definition of a name wins: so this parse adds its
    // definitions to an object of its own.
    const context: Context = { growing: true, references: Object.create(this.references) as typeof this.references };
    return this.joined(withoutPrefix(parse(source, context), this.open), source);
  }

  private prefix(): string {
    return this.open?.prefix ?? '';
  }

  /** The tree of a parse whose source began with the prefix of the open block. The first node continues that block. */
  private joined(tokens: readonly Token[], source: string): Node[] {
    const nodes = treeOf(tokens, source, true);
    const open = this.open;
    if (open === null) return nodes;
    const first = nodes[0];
    if (first?.kind !== 'element' || first.tag !== open.element.tag) return [open.element, ...nodes];
    return [joinedElement(open, first), ...nodes.slice(1)];
  }

  private commit(text: string): void {
    while (
      this.fence === null
        ? text.length - this.tailStart >= this.nextAttempt || this.mayBeFence(text)
        : this.fence.feed(text)
    ) {
      if (this.fence !== null) {
        this.committed.push(this.fence.node(text));
        this.advance(this.fence.end);
        this.fence = null;
        continue;
      }
      if (this.commitBlocks(text) || this.commitParagraph(text)) continue;
      // Nothing was committed: the next attempt waits until the tail has grown by half.
      this.nextAttempt = Math.max(MIN_TAIL, Math.ceil((text.length - this.tailStart) * 1.5));
      return;
    }
  }

  // Keeps the objects that are shown, not equal ones: otherwise every later paint would compare the two in full.
  private keepShown(shown: readonly Node[], before: { committed: number; open: OpenBlock | null }): void {
    this.committed.splice(before.committed, Infinity, ...shown.slice(before.committed, this.committed.length));
    const { open } = this;
    const element = shown[this.committed.length];
    if (open === null || open === before.open || element?.kind !== 'element') return;
    this.open = {
      ...open,
      element: { ...open.element, children: element.children.slice(0, open.element.children.length) },
    };
  }

  private advance(to: number): void {
    this.tailStart = to;
    this.nextAttempt = MIN_TAIL;
  }

  // A fence is entered as soon as its first line is complete, even if the tail is short: its lines need no parsing.
  private mayBeFence(text: string): boolean {
    if (this.open !== null || text.length - this.tailStart > MIN_TAIL) return false;
    return /^ {0,3}(`{3,}|~{3,})[^\n]*\n/.test(text.slice(this.tailStart, this.tailStart + MIN_TAIL));
  }

  private commitBlocks(text: string): boolean {
    // Only complete lines show where a block ends: `- a\n-` is two items, `- a\n-5` is one.
    const rest = text.slice(this.tailStart, text.lastIndexOf('\n') + 1);
    const source = this.prefix() + rest;
    const raw = parse(source, { growing: true, references: this.references });
    const spans = spansOf(raw);
    const last = spans.at(-1);
    if (last === undefined) return false;
    const shift = this.tailStart - this.prefix().length;
    if (spans.length > 1) {
      const tokens = withoutPrefix(raw.slice(0, last.from), this.open);
      this.committed.push(...this.joined(tokens, source));
      this.open = null;
      this.advance(shift + offsetOfLine(source, last.line));
      return true;
    }
    if (last.token.type === 'fence') return this.enterFence(last.token, source, shift);
    const part = last.token.type.endsWith('list_open') ? 'list' : last.token.type === 'table_open' ? 'table' : null;
    return part !== null && this.commitParts(part, raw, source, shift);
  }

  private enterFence(token: Token, source: string, shift: number): boolean {
    if (this.open !== null || isClosed(token, source.split('\n'))) return false;
    const at = offsetOfLine(source, token.map?.[0] ?? 0);
    this.fence = OpenFence.at(source, at, shift, token);
    return this.fence !== null;
  }

  /** Commits all items of a list but the last, or all rows of a table. */
  private commitParts(kind: 'list' | 'table', tokens: Token[], source: string, shift: number): boolean {
    const depth = kind === 'list' ? 1 : 2;
    const opening = kind === 'list' ? 'list_item_open' : 'tr_open';
    const starts = tokens.flatMap((token, i) => (token.type === opening && token.level === depth ? [i] : []));
    const last = starts.at(-1);
    const line = last === undefined ? undefined : tokens[last]?.map?.[kind === 'list' ? 0 : 1];
    if (last === undefined || line === undefined || starts.length < 2) return false;
    const at = shift + offsetOfLine(source, line);
    if (at <= this.tailStart) return false;
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

  /** Cuts a long paragraph; the head of this file has the rules. */
  private commitParagraph(text: string): boolean {
    const rest = text.slice(this.tailStart).trimEnd();
    if (rest.length < CUT_FROM || (this.open !== null && this.open.kind !== 'paragraph')) return false;
    const children = this.paragraph(rest);
    const last = children?.at(-1);
    if (children === null || last === undefined) return false;
    const source = possibleSources(last).find((one) => rest.endsWith(one));
    if (source !== undefined && (rest.length >= CUT_OPEN_MARKS_FROM || !children.some(hasOpenMark))) {
      return this.cutParagraph(children.slice(0, -1), rest.length - source.length);
    }
    if (rest.length < CUT_ANYWHERE_FROM) return false;
    // The last node's source is unknown (ten thousand times `&amp;`), so the cut may be wrong until `finish`.
    const at = cutAt(rest, 0, rest.length - MIN_TAIL);
    const part = this.paragraph(rest.slice(0, at));
    return part !== null && this.cutParagraph(part, at);
  }

  /** The children of the paragraph that `rest` is, or null if it is anything else. */
  private paragraph(rest: string): readonly Node[] | null {
    const source = this.prefix() + rest;
    const context: Context = { growing: true, references: Object.create(this.references) as typeof this.references };
    const tree = treeOf(withoutPrefix(parse(source, context), this.open), source, true);
    const only = tree[0];
    return tree.length === 1 && only?.kind === 'element' && only.tag === 'p' ? only.children : null;
  }

  private cutParagraph(children: readonly Node[], at: number): boolean {
    if (at < CUT_FROM / 2) return false;
    const element: Element = { kind: 'element', tag: 'p', children };
    this.open = {
      kind: 'paragraph',
      prefix: PLACEHOLDER,
      element: this.open === null ? element : joinedElement(this.open, element),
    };
    this.advance(this.tailStart + at);
    return true;
  }
}

/** The Markdown that `node` was probably written as; empty where that is unknown. */
function possibleSources(node: Node): string[] {
  const only = node.kind === 'element' || node.kind === 'link' ? node.children[0] : undefined;
  const inner = only?.kind === 'text' ? only.text : '';
  if (node.kind === 'text') return [node.text];
  if (node.kind === 'code') return [`\`${node.text}\``];
  if (inner === '') return [];
  if (node.kind === 'link') return [`[${inner}](${node.href})`, inner];
  return node.kind === 'element' && node.tag === 'strong' ? [`**${inner}**`] : [`*${inner}*`];
}

/** Whether `node` is a text with a character that later text may pair with. */
function hasOpenMark(node: Node): boolean {
  return node.kind === 'text' && /[*_~`[$\\<]/.test(node.text);
}

function joinedElement(open: OpenBlock, next: Element): Element {
  const parts = open.kind === 'table' ? next.children.slice(1) : next.children;
  const children = [...open.element.children, ...parts];
  const { className: _, ...element } = open.element;
  const tight = open.kind === 'list' && open.element.className === 'tight' && next.className === 'tight';
  return { ...element, ...(tight ? { className: 'tight' } : null), children };
}

/** Removes the placeholder from the first text of an open paragraph. */
function withoutPrefix(tokens: Token[], open: OpenBlock | null): Token[] {
  if (open?.kind !== 'paragraph') return tokens;
  const first = tokens.find((token) => token.type === 'inline')?.children?.[0];
  if (first?.content.startsWith(PLACEHOLDER) === true) first.content = first.content.slice(PLACEHOLDER.length);
  return tokens;
}
