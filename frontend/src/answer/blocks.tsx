// Draws a syntax tree. A node that is the same object as in the last paint is not drawn again (`reuse` in
// syntaxTree.ts).

import { Component, type ComponentChildren } from 'preact';

import { useWords } from '../words/words';
import { CodeBlock } from './CodeBlock';
import { Formula } from './Formula';
import { GrowingText } from './GrowingText';
import { withBidiMarked, withoutBidi } from './bidi';
import type { Element, Node } from './markdown/syntaxTree';

// How many siblings are compared and laid out as one group.
const GROUP = 32;
// The browser lays a paragraph out as a whole for each letter that is added. So a paragraph longer than this is split
// into parts, each a box of its own. The price is a line break between two parts, which nobody wrote.
const PART = 8_000;

interface GroupProps {
  nodes: readonly Node[];
  wrap?: 'div' | 'tbody' | 'part';
}

class Group extends Component<GroupProps> {
  override shouldComponentUpdate({ nodes }: GroupProps): boolean {
    const old = this.props.nodes;
    return nodes.length !== old.length || nodes.some((node, i) => node !== old[i]);
  }

  override render({ nodes, wrap }: GroupProps) {
    if (wrap === 'part') return <span class="part">{nodes.map(draw)}</span>;
    const inside = nodes.map((node, i) => <Block key={i} node={node} />);
    if (wrap === 'div') return <div class="blocks">{inside}</div>;
    if (wrap === 'tbody') return <tbody>{inside}</tbody>;
    return <>{inside}</>;
  }
}

/**
 * Siblings in groups. The groups exist from the first node on: to move a node into a group later would draw it again.
 */
export function Groups({ nodes, wrap }: GroupProps) {
  const groups: ComponentChildren[] = [];
  for (let from = 0; from < nodes.length; from += GROUP) {
    groups.push(<Group key={from} nodes={nodes.slice(from, from + GROUP)} {...(wrap ? { wrap } : null)} />);
  }
  return <>{groups}</>;
}

class Block extends Component<{ node: Node }> {
  override shouldComponentUpdate({ node }: { node: Node }): boolean {
    return node !== this.props.node;
  }

  override render({ node }: { node: Node }) {
    return draw(node);
  }
}

function draw(node: Node): ComponentChildren {
  switch (node.kind) {
    case 'text':
      return <GrowingText text={withoutBidi(node.text)} />;
    case 'code':
      return (
        <code dir="ltr">
          <GrowingText text={withBidiMarked(node.text)} />
        </code>
      );
    case 'link':
      return (
        <a href={node.href} target="_blank" rel="noopener noreferrer nofollow">
          {node.children.map(draw)}
        </a>
      );
    case 'checkbox':
      return <Box checked={node.checked} />;
    case 'formula':
      return <Formula source={withoutBidi(node.source)} display={node.display} whole={node.whole} />;
    case 'fence':
      return <CodeBlock fence={node} />;
    case 'element':
      return drawElement(node);
  }
}

/** The check box of a task list. It has a name, since a screen reader would say only “check box” without one. */
function Box({ checked }: { checked: boolean }) {
  const words = useWords();
  return <input type="checkbox" disabled checked={checked} aria-label={checked ? words.taskDone : words.taskOpen} />;
}

function drawElement({ tag: Tag, className, start, children }: Element): ComponentChildren {
  switch (Tag) {
    case 'hr':
    case 'br':
      return <Tag />;
    case 'table':
      return (
        <div class="table" tabIndex={0}>
          <table>
            {children.slice(0, 1).map(draw)}
            <Groups nodes={children.slice(1)} wrap="tbody" />
          </table>
        </div>
      );
    case 'ol':
      return (
        <ol class={className} {...(start === undefined ? null : { start })}>
          <Groups nodes={children} />
        </ol>
      );
    case 'ul':
      return (
        <ul class={className}>
          <Groups nodes={children} />
        </ul>
      );
    case 'p':
      return <Paragraph nodes={children} />;
    case 'blockquote':
    case 'li':
      return (
        <Tag class={className}>
          {children.map((node, i) => (
            <Block key={i} node={node} />
          ))}
        </Tag>
      );
    default:
      return <Tag class={className}>{children.map(draw)}</Tag>;
  }
}

function Paragraph({ nodes }: { nodes: readonly Node[] }) {
  const ends = partEnds(nodes);
  return (
    <p>
      {nodes.slice(0, ends[0]).map(draw)}
      {ends.map((end, i) => (
        <Group key={end} nodes={nodes.slice(end, ends[i + 1])} wrap="part" />
      ))}
    </p>
  );
}

/** The index behind each part of a paragraph, without the last part. */
function partEnds(nodes: readonly Node[]): number[] {
  const ends: number[] = [];
  let length = 0;
  nodes.forEach((node, i) => {
    if (length >= PART) {
      ends.push(i);
      length = 0;
    }
    length += node.kind === 'text' || node.kind === 'code' ? node.text.length : 20;
  });
  return ends;
}
