import { Component } from 'preact';

interface Props {
  text: string;
}

// Preact gives no reference to a text node. These are the names under which its builds keep a component's node. They
// have not changed in many versions, since its developer tools need them. Under other names the text would still be
// right, for then Preact would set it.
interface Rendered {
  __v?: { __e?: globalThis.Node | null };
}

/**
 * A text node to which new text is appended. Preact would set its whole text, and a selection that ends in it would
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
