// Embeddings, overrides and isolates can show a line in another order than it has. A model's text has no need of them: the
// page sets the direction of every block.
const CONTROLS = /[\u202A-\u202E\u2066-\u2069]/g;

export function withoutBidi(text: string): string {
  return text.replace(CONTROLS, '');
}

/** For code, where what stands there matters more than how it reads: each control as a mark that can be seen. */
export function withBidiMarked(code: string): string {
  return code.replace(CONTROLS, (control) => `⟦U+${control.charCodeAt(0).toString(16).toUpperCase()}⟧`);
}
