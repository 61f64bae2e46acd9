// Markdown into a syntax tree, by markdown-it. The parser is configured here only. No markup ever becomes a string of
// HTML.

import MarkdownIt, { type Env, type StateBlock, type Token } from 'markdown-it';
import cjkFriendly from 'markdown-it-cjk-friendly';

import { chunksOf } from './codeChunks';
import { inlineNodes } from './inline';
import { mathRules } from './mathRules';
import { costs } from './costCounters';
import type { Element, Node, Tag } from './syntaxTree';

/** What a parse needs beside its source: the link definitions so far, and whether more text will come. */
export interface Context extends Env {
  growing: boolean;
}

const parser = new MarkdownIt({ html: false, linkify: true, typographer: false }).use(cjkFriendly).use(mathRules);
// safeHref.ts decides which links are allowed. Refused here, a link would show its brackets as text.
parser.validateLink = () => true;
// A link without a scheme is none: `.py` and `.md` are the domains of Paraguay and Moldova, so `README.md` would be a
// link.
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

// markdown-it drops blocks that are nested deeper than its limit. So that no text vanishes, deeper blocks become a
// paragraph.
const DEEPEST = 60;
parser.block.ruler.before('table', 'too deep', (state: StateBlock, startLine, endLine, silent) => {
  if (state.level < DEEPEST) return false;
  if (silent) return true;
  state.push('paragraph_open', 'p', 1).map = [startLine, endLine];
  const inline = state.push('inline', '', 0);
  inline.content = state.getLines(startLine, endLine, state.blkIndent, false).trim();
  inline.children = [];
  state.push('paragraph_close', 'p', -1);
  state.line = endLine;
  return true;
});

// A longer block has no Markdown worth the seconds that pairing its marks could take: it is shown as plain text.
const LONGEST = 100_000;
parser.core.ruler.before('inline', 'too long', (state) => {
  for (const token of state.tokens) {
    if (token.type !== 'inline' || token.content.length <= LONGEST) continue;
    const text = new state.Token('text', '', 0);
    text.content = token.content;
    token.children = [text];
    token.content = '';
  }
});

/**
 * `text` with one kind of line end and without NUL, as CommonMark asks (section 2.3). A carriage return at the end is
 * dropped until the next character has arrived; so if a text begins with another, it does so normalised, too.
 */
export function normalise(text: string): string {
  const clean = text.includes('\0') ? text.replaceAll('\0', '\uFFFD') : text;
  return clean.includes('\r') ? clean.replace(/\r$/, '').replace(/\r\n?/g, '\n') : clean;
}

/** The blocks of `source`, a normalised text, without their inline content. */
export function outline(source: string, context: Context): Token[] {
  costs.characters += source.length;
  const tokens: Token[] = [];
  parser.block.parse(source, parser, context, tokens);
  return tokens.filter((token) => token.type !== 'reference_definition');
}

/** Parses the inline content of blocks that `outline` returned. */
export function fill(tokens: Token[], context: Context): void {
  // The source is empty, so the core rules for blocks do nothing; those for inline content read the tokens.
  const state = new parser.core.State('', parser, context);
  state.tokens = tokens;
  parser.core.process(state);
}

export function parse(source: string, context: Context): Token[] {
  const tokens = outline(source, context);
  fill(tokens, context);
  return tokens;
}

function tagOf(token: Token): Tag {
  return token.tag as Tag;
}

function alignmentOf(token: Token): string | undefined {
  const style = token.attrGet('style');
  return style === null ? undefined : String(style).replace('text-align:', 'align-');
}

// An element whose children are not complete.
interface Opened {
  tag: Tag | null;
  className?: string | undefined;
  start?: number | undefined;
  loose: boolean;
  children: Node[];
}

function element({ tag, className, start, children }: Opened): Element {
  return {
    kind: 'element',
    tag: tag ?? 'p',
    ...(className === undefined ? null : { className }),
    ...(start === undefined ? null : { start }),
    children,
  };
}

function openElement(token: Token): Opened {
  const opened: Opened = { tag: tagOf(token), loose: false, children: [] };
  if (token.type === 'ordered_list_open') {
    const start = token.attrGet('start');
    if (start !== null) opened.start = Number(start);
  } else if (token.type === 'th_open' || token.type === 'td_open') {
    opened.className = alignmentOf(token);
  }
  return opened;
}

// An item of a task list begins with `[ ] ` or `[x] `. Its box is drawn disabled.
function withCheckbox(item: Opened): void {
  const first = item.children[0];
  if (first?.kind !== 'element' || first.tag !== 'p') return;
  const head = first.children[0];
  const box = head?.kind === 'text' ? /^\[([ xX])\][ \t]+/.exec(head.text) : null;
  if (head?.kind !== 'text' || box === null) return;
  const rest = [{ kind: 'text', text: head.text.slice(box[0].length) } as const, ...first.children.slice(1)];
  item.children[0] = { ...first, children: [{ kind: 'checkbox', checked: box[1] !== ' ' }, ...rest] };
  item.className = 'task';
}

/**
 * The tree of a parse. An item always keeps its paragraphs, and a tight list has the class `tight`. If a tight list had
 * no paragraphs, as in HTML, one blank line would change every item before it.
 */
export function treeOf(tokens: readonly Token[], source: string, growing: boolean): Node[] {
  const root: Opened = { tag: null, loose: false, children: [] };
  const stack: Opened[] = [root];
  let lines: string[] | null = null;
  for (const token of tokens) {
    const top = stack.at(-1) ?? root;
    if (token.type === 'tbody_open' || token.type === 'tbody_close') continue;
    if (token.nesting === 1) {
      const list = stack.at(-2);
      if (token.type === 'paragraph_open' && !token.hidden && top.tag === 'li' && list !== undefined) list.loose = true;
      stack.push(openElement(token));
    } else if (token.nesting === -1) {
      stack.pop();
      if (top.tag === 'li') withCheckbox(top);
      if ((top.tag === 'ul' || top.tag === 'ol') && !top.loose) top.className = 'tight';
      (stack.at(-1) ?? root).children.push(element(top));
    } else if (token.type === 'inline') {
      top.children.push(...inlineNodes(token));
    } else if (token.type === 'fence' || token.type === 'code_block') {
      lines ??= source.split('\n');
      top.children.push({
        kind: 'fence',
        language: token.type === 'fence' ? (/^\S+/.exec(token.info.trim())?.[0] ?? '') : '',
        chunks: chunksOf(token.content),
        open: growing && token.type === 'fence' && !isClosed(token, lines),
      });
    } else if (token.type === 'formula') {
      top.children.push({
        kind: 'formula',
        source: token.content,
        display: true,
        whole: (token.meta as { closed: boolean }).closed,
      });
    } else if (token.type === 'hr') {
      top.children.push({ kind: 'element', tag: 'hr', children: [] });
    }
  }
  return root.children;
}

/**
 * Whether the last line of a fence is its closing line. The token does not tell: a fence that ends with the text looks
 * alike.
 */
export function isClosed(fence: Token, lines: readonly string[]): boolean {
  const [start, end] = fence.map ?? [0, 0];
  const last = lines[end - 1] ?? '';
  const marks = /(`{3,}|~{3,})[ \t]*$/.exec(last)?.[1];
  return end - 1 > start && marks !== undefined && marks.startsWith(fence.markup);
}
