/** Copies `text` to the clipboard. False if the browser allows neither way. */
export async function copy(text: string): Promise<boolean> {
  try {
    // `navigator.clipboard` is undefined over plain HTTP, and throws without the permission.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Copies by `execCommand`, which needs a selected field that is rendered. */
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

/** Selects the content of `node`, so that the reader can copy it by keyboard. */
export function select(node: globalThis.Node): void {
  document.getSelection()?.selectAllChildren(node);
}
