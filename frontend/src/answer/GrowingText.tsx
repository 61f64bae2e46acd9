import { Component } from 'preact';

interface Props { text: string }

// Preact gives no reference to a text node. These are the names under which its build keeps a component's node, the same in every
// build of every version since 8 (its developer tools need them); a test holds that they are.
interface Rendered { __v?: { __e?: unknown } }

function textNodeOf(component: unknown): globalThis.Text | null {
  const node = (component as Rendered).__v?.__e;
  return node instanceof globalThis.Text ? node : null;
}

/**
 * A text node that grows by what is added to it. Preact would set its whole text anew, and a selection that ends in it would
 * collapse.
 */
export class GrowingText extends Component<Props> {
  override shouldComponentUpdate({ text }: Props): boolean {
    const node = textNodeOf(this);
    if (node === null) return true;
    if (text.startsWith(node.data)) {
      if (text.length > node.data.length) node.appendData(text.slice(node.data.length));
    } else {
      node.data = text;
    }
    return false;
  }

  override render({ text }: Props) {
    return text;
  }
}
