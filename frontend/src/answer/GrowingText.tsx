import { Component } from 'preact';

interface Props {
  text: string;
}

// Preact gives no reference to a text node. These are the names under which its builds keep a component's node, unchanged for
// many versions since its developer tools need them. Were they others one day, text would still be right: Preact would set it.
interface Rendered {
  __v?: { __e?: globalThis.Node | null };
}

/**
 * A text node that grows by what is added to it. Preact would set its whole text anew, and a selection that ends in it would
 * collapse.
 */
export class GrowingText extends Component<Props> {
  private node: CharacterData | null = null;

  override componentDidMount(): void {
    const node = (this as Rendered).__v?.__e;
    this.node = node?.nodeType === 3 ? (node as globalThis.Text) : null;
  }

  override shouldComponentUpdate({ text }: Props): boolean {
    const { node } = this;
    if (node === null) return true;
    const shown = node.data;
    if (!text.startsWith(shown)) node.data = text;
    else if (text.length > shown.length) node.appendData(text.slice(shown.length));
    return false;
  }

  override render({ text }: Props) {
    return text;
  }
}
