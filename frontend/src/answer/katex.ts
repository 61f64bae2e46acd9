// KaTeX and its style sheet: one bundle that is loaded with the first formula.
import katex from 'katex';
import 'katex/dist/katex.min.css';

/** Renders the formula `source` into `node`. A formula that KaTeX cannot render stays as the model wrote it. */
export function render(source: string, node: HTMLElement, display: boolean): void {
  const set = document.createElement('span');
  try {
    withStylesByObject(() =>
      katex.render(source, set, {
        displayMode: display,
        throwOnError: true,
        trust: false,
        strict: 'ignore',
        maxExpand: 200,
        maxSize: 20,
      }),
    );
  } catch {
    node.textContent = source;
    return;
  }
  node.replaceChildren(...set.childNodes);
}

/**
 * Runs `work` with every `style` attribute set through the style object instead. A few of KaTeX's commands
 * (`\overbrace`, `\boxed`) set the attribute. The page's content security policy forbids that, so these would be drawn
 * without their width.
 */
function withStylesByObject(work: () => void): void {
  // oxlint-disable-next-line typescript/unbound-method -- it is called with its element, and restored
  const { setAttribute } = Element.prototype;
  Element.prototype.setAttribute = function (
    this: Element & Partial<ElementCSSInlineStyle>,
    name: string,
    value: string,
  ): void {
    if (name === 'style' && this.style !== undefined) this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
  try {
    work();
  } finally {
    Element.prototype.setAttribute = setAttribute;
  }
}
