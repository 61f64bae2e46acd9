// A fenced code block that has no closing line yet. Its lines are code as they are, so they are added without a parser.

import type { Token } from 'markdown-it';

import { GrowingChunks } from './codeChunks';
import type { Fence } from './syntaxTree';

export class OpenFence {
  private readonly code = new GrowingChunks();
  private readonly language: string;
  private closed = false;
  private readonly closing: RegExp;
  private readonly maybeClosing: RegExp;
  private readonly indented: RegExp;

  /** The offset of the first line that was not added yet; of a closed fence, of the text behind it. */
  end: number;

  private constructor(token: Token, indent: number, end: number) {
    const mark = token.markup.charAt(0);
    this.language = /^\S+/.exec(token.info.trim())?.[0] ?? '';
    this.closing = new RegExp(`^ {0,3}${mark}{${token.markup.length},}[ \\t]*$`);
    this.maybeClosing = new RegExp(`^ {0,3}${mark}*[ \\t]*$`);
    this.indented = new RegExp(`^ {0,${indent}}`);
    this.end = end;
  }

  /** The fence that begins at the offset `at` of `source`. `source` itself begins at the offset `shift` of the text. */
  static at(source: string, at: number, shift: number, token: Token): OpenFence | null {
    const newline = source.indexOf('\n', at);
    const indent = /^ */.exec(source.slice(at, at + 4))?.[0].length ?? 0;
    return newline < 0 ? null : new OpenFence(token, indent, shift + newline + 1);
  }

  /** Adds the complete lines that have arrived. True once the closing line is among them. */
  feed(text: string): boolean {
    while (!this.closed) {
      const newline = text.indexOf('\n', this.end);
      if (newline < 0) return false;
      const line = text.slice(this.end, newline);
      this.end = newline + 1;
      if (this.closing.test(line)) this.closed = true;
      else this.code.push(`${line.replace(this.indented, '')}\n`);
    }
    return true;
  }

  node(text: string): Fence {
    const line = this.closed ? '' : text.slice(this.end);
    // A line that may become the closing line is not shown: it would vanish a moment later.
    const partial = this.maybeClosing.test(line) ? '' : line.replace(this.indented, '');
    return { kind: 'fence', language: this.language, chunks: this.code.chunks(partial), open: !this.closed };
  }
}
