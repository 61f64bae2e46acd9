// The keyboard shortcuts.

const isTouch = () => matchMedia('(pointer: coarse)').matches;
export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** Whether an Enter sends the message; it does not if it breaks a line or confirms a word of an input method. */
export function isSending(event: KeyboardEvent): boolean {
  if (event.key !== 'Enter' || event.shiftKey || event.altKey || event.repeat) return false;
  // Safari ends the composition before this event; only the key code 229 shows it (W3C UI Events, 5.1).
  if (event.isComposing || event.keyCode === 229) return false;
  // A touch keyboard has no Shift+Enter, and the send button is beside it.
  return event.ctrlKey || event.metaKey || !isTouch();
}

export type Command = 'newChat' | 'search' | 'focus' | 'list';

/** The command of the page that a key stands for. */
export function command(event: KeyboardEvent): Command | null {
  if (event.isComposing || event.altKey) return null;
  const isCommand = isMac ? event.metaKey : event.ctrlKey;
  const key = event.key.toLowerCase();
  if (isCommand && event.shiftKey && key === 'o') return 'newChat';
  if (isCommand && !event.shiftKey && key === 'k') return 'search';
  if (isCommand && key === '/') return 'list';
  if (event.shiftKey && key === 'escape') return 'focus';
  return null;
}

const COMMAND = isMac ? '⌘' : 'Ctrl';

/** The list of shortcuts: the name of each in `Words.keys`, and its keys. */
export const SHORTCUTS = [
  ['send', ['Enter']],
  ['newLine', ['Shift', 'Enter']],
  ['stop', ['Esc']],
  ['editLast', ['↑']],
  ['newChat', [COMMAND, 'Shift', 'O']],
  ['search', [COMMAND, 'K']],
  ['focus', ['Shift', 'Esc']],
  ['list', [COMMAND, '/']],
] as const;
