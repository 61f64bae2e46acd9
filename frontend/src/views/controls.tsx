// Buttons and dialogs that are used all over the page.

import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { copy } from '../answer/clipboard';
import { useWords } from '../words/words';
import { Icon, type IconName } from './icons';

const SHOWN_MS = 2_500;

interface IconButtonProps {
  icon: IconName;
  label: string;
  onClick?: () => void;
  class?: string;
  type?: 'button' | 'submit';
  disabled?: boolean;
}

export function IconButton({
  icon,
  label,
  onClick,
  class: name = '',
  type = 'button',
  disabled = false,
}: IconButtonProps) {
  return (
    <button
      type={type}
      class={`icon-button ${name}`}
      aria-label={label}
      title={label}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}

export function CopyButton({ text, label }: { text: string; label: string }) {
  const words = useWords();
  const [outcome, setOutcome] = useState<'copied' | 'copyFailed' | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const press = async () => {
    const isDone = await copy(text);
    setOutcome(isDone ? 'copied' : 'copyFailed');
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setOutcome(null), SHOWN_MS);
  };
  return (
    <>
      <IconButton icon={outcome === 'copied' ? 'check' : 'copy'} label={label} onClick={() => void press()} />
      {/* Success shows a tick; a failure needs a visible text. */}
      <span class={outcome === 'copyFailed' ? 'said' : 'unseen'} aria-live="polite">
        {outcome !== null && words[outcome]}
      </span>
    </>
  );
}

interface DialogProps {
  label: string;
  onClose: () => void;
  children: ComponentChildren;
}

/** A modal dialog: the browser's own, which keeps the focus inside and restores it. */
export function Dialog({ label, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const isGone = useRef(false);
  // The `close` event comes later, and would close another dialog that was opened meanwhile.
  const closed = () => isGone.current || onClose();
  // The Escape key. The browser would close the dialog at once and report it by `close` only, so a press of the opener
  // in between would be lost.
  const cancelled = (event: Event) => {
    event.preventDefault();
    onClose();
  };
  // In a layout effect: before the dialog is shown, a key would go to the page.
  useLayoutEffect(() => {
    const shown = dialog.current!;
    shown.showModal();
    return () => {
      isGone.current = true;
      // A dialog that is removed without `close` does not restore the focus.
      shown.close();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-label={label}
      onCancel={cancelled}
      onClose={closed}
      onClick={({ target }) => target === dialog.current && onClose()}
    >
      <div class="dialog">{children}</div>
    </dialog>
  );
}
