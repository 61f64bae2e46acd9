// Inline content into a syntax tree: the tokens of text, marks, links, code and formulas.

import type { Token } from 'markdown-it';

import { safeHref } from './safeHref';
import { segments } from './textSplitting';
import type { Node, Tag } from './syntaxTree';

function textNodes(text: string): Node[] {
  return segments(text).map((part) => ({ kind: 'text', text: part }));
}

/** The text of an image's description, which may have marks. */
function plain(tokens: readonly Token[]): string {
  return tokens
    .map((token) =>
      token.type === 'softbreak' || token.type === 'hardbreak'
        ? ' '
        : token.children
          ? plain(token.children)
          : token.content,
    )
    .join('');
}

interface Opened {
  tag: Tag | 'a';
  href: string | null;
  children: Node[];
}

export function inlineNodes(inline: Token): Node[] {
  const root: Opened = { tag: 'p', href: null, children: [] };
  const stack: Opened[] = [root];
  for (const token of inline.children ?? []) {
    const top = stack.at(-1) ?? root;
    if (token.nesting === 1) {
      stack.push({
        tag: token.tag as Tag | 'a',
        href: token.tag === 'a' ? safeHref(String(token.attrGet('href'))) : null,
        children: [],
      });
    } else if (token.nesting === -1) {
      stack.pop();
      const parent = stack.at(-1) ?? root;
      if (top.tag !== 'a') parent.children.push({ kind: 'element', tag: top.tag, children: top.children });
      else if (top.href === null) parent.children.push(...top.children);
      else parent.children.push({ kind: 'link', href: top.href, children: top.children });
    } else {
      top.children.push(
        ...leaf(
          token,
          stack.some((one) => one.tag === 'a'),
        ),
      );
    }
  }
  return root.children;
}

function leaf(token: Token, linked: boolean): Node[] {
  switch (token.type) {
    case 'softbreak':
      return [{ kind: 'text', text: '\n' }];
    case 'hardbreak':
      return [{ kind: 'element', tag: 'br', children: [] }];
    case 'code_inline':
      return [{ kind: 'code', text: token.content }];
    case 'formula':
      return [
        { kind: 'formula', source: token.content, display: (token.meta as { display: boolean }).display, whole: true },
      ];
    case 'image':
      return image(token, linked);
    default:
      return token.content === '' ? [] : textNodes(token.content);
  }
}

// An image is shown as a link. Loaded unasked, it would tell its server who reads the answer, and when.
function image(token: Token, linked: boolean): Node[] {
  const href = safeHref(String(token.attrGet('src')));
  const text = plain(token.children ?? []) || href || '';
  const children = text === '' ? [] : textNodes(text);
  return href === null || linked ? children : [{ kind: 'link', href, children }];
}
