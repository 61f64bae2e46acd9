// KaTeX and its style: one chunk that is loaded when the first formula is shown.

import katex from 'katex';
import 'katex/dist/katex.min.css';

/** Sets `source` into `node`; what cannot be set stays as the model wrote it. */
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
 * Runs `work` with every style attribute that it sets made a style object's. A few of KaTeX's signs (`\overbrace`, `\boxed`)
 * set the attribute, which the page's policy forbids, and would be drawn without their width.
 */
function withStylesByObject(work: () => void): void {
  // oxlint-disable-next-line typescript/unbound-method -- it is called with its element, and put back
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
