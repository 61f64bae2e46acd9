// A text into a tree. The parser is configured here and nowhere else; no markup of it ever becomes a string of HTML.

import MarkdownIt, { type Env, type StateBlock, type Token } from 'markdown-it';
import cjkFriendly from 'markdown-it-cjk-friendly';

import { chunksOf } from './codeChunks';
import { inlineNodes } from './inline';
import { mathRules } from './mathRules';
import { measure } from './costCounters';
import type { Element, Node, Tag } from './syntaxTree';

/** What one parse tells the next: link definitions, and whether more text will come. */
export interface Context extends Env {
  growing: boolean;
}

const parser = new MarkdownIt({ html: false, linkify: true, typographer: false }).use(cjkFriendly).use(mathRules);
// The allow-list decides when a link is drawn (links.ts); refused here, its brackets would stand in the text.
parser.validateLink = () => true;
// Without a scheme `main.py` and `README.md` would be links: Paraguay's and Moldova's.
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

// The parser drops what is nested deeper than its limit; a text must not vanish, so it goes on as a paragraph before that.
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

// Marks in a line that long are not Markdown, and pairing them could take seconds.
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

/** The blocks of `source`, whose line ends are normal (normalise.ts), without what is in them. */
export function outline(source: string, context: Context): Token[] {
  measure.characters += source.length;
  const tokens: Token[] = [];
  parser.block.parse(source, parser, context, tokens);
  return tokens.filter((token) => token.type !== 'reference_definition');
}

/** Parses what is in the blocks of an outline, or of a part of one. */
export function fill(tokens: Token[], context: Context): void {
  // Of the rules that run on a whole text, those for blocks find nothing to do in an empty one.
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

// An element that is still being filled.
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

// `[ ] ` or `[x] ` that begins an item is a box to tick; it is drawn and cannot be ticked.
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
 * The tree of a parse. Items always keep their paragraphs and the list says `tight`: were the paragraphs left out as in
 * HTML, one blank line would make every item before it another one.
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

/** Whether a fence's last line is its closing mark: the token of one that merely ends with the text looks the same. */
export function isClosed(fence: Token, lines: readonly string[]): boolean {
  const [start, end] = fence.map ?? [0, 0];
  const last = lines[end - 1] ?? '';
  const marks = /(`{3,}|~{3,})[ \t]*$/.exec(last)?.[1];
  return end - 1 > start && marks !== undefined && marks.startsWith(fence.markup);
}
