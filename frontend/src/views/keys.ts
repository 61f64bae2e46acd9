// Which keys do what.

const isTouch = () => matchMedia('(pointer: coarse)').matches;
export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** An Enter that sends: not one that breaks a line, nor one by which an input method takes a word. */
export function isSending(event: KeyboardEvent): boolean {
  if (event.key !== 'Enter' || event.shiftKey || event.altKey || event.repeat) return false;
  // Safari ends the composition first, and says so by the key code alone (W3C UI Events, 5.1: 229).
  if (event.isComposing || event.keyCode === 229) return false;
  // A keyboard on glass has no Shift+Enter, and a button that sends stands beside it.
  return event.ctrlKey || event.metaKey || !isTouch();
}

export type Command = 'newChat' | 'search' | 'focus' | 'list';

/** What of the whole page a key asks for. */
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

/** For the list of shortcuts: what each is called in `Words.keys`, and its keys. */
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
