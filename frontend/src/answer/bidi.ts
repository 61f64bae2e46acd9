// Embeddings, overrides and isolates can show a text in another order than it has ("Trojan Source"). An answer needs
// none: the page sets the direction of each block.
const CONTROLS = /[\u202A-\u202E\u2066-\u2069]/g;

export function withoutBidi(text: string): string {
  return text.replace(CONTROLS, '');
}

/** For code, where each character matters: every control is shown as a visible mark. */
export function withBidiMarked(code: string): string {
  return code.replace(CONTROLS, (control) => `⟦U+${control.charCodeAt(0).toString(16).toUpperCase()}⟧`);
}
