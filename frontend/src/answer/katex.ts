// KaTeX and its style: one chunk that is loaded when the first formula is shown.

import katex from 'katex';
import 'katex/dist/katex.min.css';

/** Into the node and not into a string: the styles in the string would break the page's policy. */
export function render(source: string, node: HTMLElement, display: boolean): void {
  try {
    katex.render(source, node, {
      displayMode: display, throwOnError: false, trust: false, strict: 'ignore', maxExpand: 200, maxSize: 20, output: 'htmlAndMathml',
    });
  } catch {
    // A few faults are thrown all the same; a formula that cannot be set stays what the model wrote.
    node.textContent = source;
  }
}
