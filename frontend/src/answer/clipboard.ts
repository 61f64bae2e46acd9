/** Puts `text` into the clipboard. False where neither way is allowed. */
export async function copy(text: string): Promise<boolean> {
  try {
    // Absent on plain HTTP, refused where the permission is.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** The old way, which needs a selected field that can be seen. */
function copyBySelection(text: string): boolean {
  const field = document.createElement('textarea');
  field.value = text;
  field.readOnly = true;
  field.className = 'copy-field';
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  try {
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    field.remove();
    if (focused instanceof HTMLElement) focused.focus();
  }
}

/** Selects what `node` shows, so that the reader's own keys can copy it. */
export function select(node: globalThis.Node): void {
  document.getSelection()?.selectAllChildren(node);
}
