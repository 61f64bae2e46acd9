// The formulas of a text: `\(…\)`, `\[…\]`, `$$…$$`, and `$…$` where it cannot be money.

import type { MarkdownIt, StateBlock, StateInline } from 'markdown-it';

const BACKSLASH = 0x5c;
const DOLLAR = 0x24;

// The longest formula, in characters. Without a limit, one stray `$$` would swallow the rest of an answer.
const LONGEST = 5_000;

/**
 * Whether the text between two dollars can only be math. Pandoc's rule (no space inside the dollars, no digit after the
 * closing one) would accept `$5/month and 10$`, so the text must look like math, too.
 */
export function isMath(content: string): boolean {
  if (content === '' || /^\s|\s$/.test(content) || content.includes('\n')) return false;
  if (/[\\^_={}]/.test(content)) return !/^\d[^\\^_={}]*[A-Za-z]{3}/.test(content);
  if (/[A-Za-z]{3}/.test(content)) return false;
  return /^[\p{L}\d\s.,;:!'"()[\]|+\-*/<>±×÷≤≥≠≈∈∞]+$/u.test(content);
}

// The next offset of each mark in the text of a state. Without this cache, ten thousand unclosed `\(` would each search
// the rest of the text.
const offsets = new WeakMap<StateInline, Map<string, { from: number; at: number }>>();

function next(state: StateInline, mark: string, from: number): number {
  let known = offsets.get(state);
  if (known === undefined) offsets.set(state, (known = new Map<string, { from: number; at: number }>()));
  const last = known.get(mark);
  if (last !== undefined && last.from <= from && from <= last.at) return last.at;
  const at = state.src.indexOf(mark, from);
  known.set(mark, { from, at: at < 0 ? Infinity : at });
  return at < 0 ? Infinity : at;
}

/** The offset of the mark that closes a formula whose content begins at `from`, or -1. */
function closing(state: StateInline, mark: string, from: number): number {
  for (
    let at = next(state, mark, from);
    at + mark.length <= state.posMax && at - from <= LONGEST;
    at = next(state, mark, at + 1)
  ) {
    let slashes = 0;
    while (state.src.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
  return -1;
}

function formula(state: StateInline, silent: boolean, open: string, close: string, display: boolean): boolean {
  const from = state.pos + open.length;
  const end = closing(state, close, from);
  if (end < 0) return false;
  const content = state.src.slice(from, end);
  if (content.trim() === '') return false;
  if (!silent) {
    const token = state.push('formula', 'math', 0);
    token.content = content.trim();
    token.meta = { display };
  }
  state.pos = end + close.length;
  return true;
}

function inlineMath(state: StateInline, silent: boolean): boolean {
  const { src, pos } = state;
  const first = src.charCodeAt(pos);
  if (first === BACKSLASH) {
    if (src[pos + 1] === '(') return formula(state, silent, '\\(', '\\)', false);
    if (src[pos + 1] === '[') return formula(state, silent, '\\[', '\\]', true);
    return false;
  }
  if (first !== DOLLAR) return false;
  if (src[pos + 1] === '$') return formula(state, silent, '$$', '$$', true);
  if (/[\p{L}\p{N}]/u.test(src[pos - 1] ?? '') && !/\p{sc=Han}/u.test(src[pos - 1] ?? '')) return false;
  const end = closing(state, '$', pos + 1);
  if (end < 0 || /[A-Za-z0-9$]/.test(src[end + 1] ?? '') || !isMath(src.slice(pos + 1, end))) return false;
  return formula(state, silent, '$', '$', false);
}

function blockMath(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  if ((state.sCount[startLine] ?? 0) - state.blkIndent >= 4) return false;
  const start = (state.bMarks[startLine] ?? 0) + (state.tShift[startLine] ?? 0);
  const open = state.src.slice(start, start + 2);
  if (open !== '$$' && open !== '\\[') return false;
  const close = open === '$$' ? '$$' : '\\]';
  const lines: string[] = [];
  let length = 0;
  for (let line = startLine; line < endLine; line += 1) {
    if (line > startLine && (state.sCount[line] ?? 0) < state.blkIndent && !state.isEmpty(line)) return false;
    const from = (state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0) + (line === startLine ? 2 : 0);
    const text = state.src.slice(from, state.eMarks[line]).trimEnd();
    length += text.length;
    if (length > LONGEST) return false;
    const end = text.indexOf(close);
    // Text behind the closing mark makes this a formula within a paragraph, which the inline rule parses.
    if (end >= 0 && end + 2 < text.length) return false;
    lines.push(end < 0 ? text : text.slice(0, end));
    if (end < 0) continue;
    if (lines.join('').trim() === '') return false;
    return blockFormula(state, startLine, line + 1, lines, silent, true);
  }
  // In a growing text, the end of the text is not the end of the formula. Without this, a blank line in a formula would
  // commit its first half.
  return state.env.growing === true && blockFormula(state, startLine, endLine, lines, silent, false);
}

function blockFormula(
  state: StateBlock,
  start: number,
  end: number,
  lines: string[],
  silent: boolean,
  closed: boolean,
): boolean {
  if (silent) return true;
  const token = state.push('formula', 'math', 0);
  token.block = true;
  token.content = lines.join('\n').trim();
  token.meta = { display: true, closed };
  token.map = [start, end];
  state.line = end;
  return true;
}

export function mathRules(md: MarkdownIt): void {
  md.inline.ruler.before('escape', 'math', inlineMath);
  md.block.ruler.before('fence', 'math', blockMath, { alt: ['paragraph', 'blockquote', 'list'] });
}
