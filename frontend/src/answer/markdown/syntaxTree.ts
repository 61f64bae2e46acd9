// The syntax tree of an answer. It is plain data, so that two parses can be compared and equal nodes kept.

import { costs } from './costCounters';

export type Tag =
  | 'p'
  | 'h1'
  | 'h2'
  | 'h3'
  | 'h4'
  | 'h5'
  | 'h6'
  | 'blockquote'
  | 'ul'
  | 'ol'
  | 'li'
  | 'hr'
  | 'br'
  | 'table'
  | 'thead'
  | 'tr'
  | 'th'
  | 'td'
  | 'em'
  | 'strong'
  | 's';

export interface Text {
  readonly kind: 'text';
  readonly text: string;
}
export interface Element {
  readonly kind: 'element';
  readonly tag: Tag;
  readonly className?: string;
  readonly start?: number;
  readonly children: readonly Node[];
}
export interface Link {
  readonly kind: 'link';
  readonly href: string;
  readonly children: readonly Node[];
}
export interface CodeSpan {
  readonly kind: 'code';
  readonly text: string;
}
export interface Checkbox {
  readonly kind: 'checkbox';
  readonly checked: boolean;
}
export interface Formula {
  readonly kind: 'formula';
  readonly source: string;
  readonly display: boolean;
  /** Whether its closing mark has arrived. */
  readonly whole: boolean;
}
export interface Fence {
  readonly kind: 'fence';
  readonly language: string;
  /** The code in chunks of whole lines; joined, they are exactly the source. */
  readonly chunks: readonly string[];
  /** Whether more code may arrive; then the last chunk may change. */
  readonly open: boolean;
}
export type Node = Text | Element | Link | CodeSpan | Checkbox | Formula | Fence;

function childrenOf(node: Node): readonly Node[] | null {
  return node.kind === 'element' || node.kind === 'link' ? node.children : null;
}

function alike(old: Node, next: Node): boolean {
  costs.comparisons += 1;
  switch (next.kind) {
    case 'text':
    case 'code':
      return old.kind === next.kind && old.text === next.text;
    case 'element':
      return (
        old.kind === 'element' && old.tag === next.tag && old.className === next.className && old.start === next.start
      );
    case 'link':
      return old.kind === 'link' && old.href === next.href;
    case 'checkbox':
      return old.kind === 'checkbox' && old.checked === next.checked;
    case 'formula':
      return (
        old.kind === 'formula' && old.source === next.source && old.display === next.display && old.whole === next.whole
      );
    case 'fence':
      return (
        old.kind === 'fence' &&
        old.language === next.language &&
        old.open === next.open &&
        old.chunks.length === next.chunks.length &&
        next.chunks.every((chunk, i) => chunk === old.chunks[i])
      );
  }
}

/**
 * `next` with every node that equals the node of `old` at the same index replaced by that object: it is not rendered
 * again.
 */
export function reuse(old: Node | undefined, next: Node): Node {
  if (old === undefined || old === next) return next;
  const before = childrenOf(old);
  const after = childrenOf(next);
  if (before === null || after === null) return alike(old, next) ? old : next;
  const children = reuseAll(before, after);
  if (children === before && alike(old, next)) return old;
  return { ...next, children } as Node;
}

/** `reuse` for siblings; returns `old` itself if nothing differs. */
export function reuseAll(old: readonly Node[], next: readonly Node[]): readonly Node[] {
  let same = old.length === next.length;
  const merged = next.map((node, i) => {
    const kept = reuse(old[i], node);
    if (kept !== old[i]) same = false;
    return kept;
  });
  return same ? old : merged;
}
