// Small things to press, used all over the page.

import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { copy } from '../answer/clipboard';
import { useWords } from '../words/words';
import { Icon, type IconName } from './icons';

const SAID_MS = 2_500;

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
  const [said, setSaid] = useState<'copied' | 'copyFailed' | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const press = async () => {
    const isDone = await copy(text);
    setSaid(isDone ? 'copied' : 'copyFailed');
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setSaid(null), SAID_MS);
  };
  return (
    <>
      <IconButton icon={said === 'copied' ? 'check' : 'copy'} label={label} onClick={() => void press()} />
      {/* A tick is seen; that nothing was copied has to be read. */}
      <span class={said === 'copyFailed' ? 'said' : 'unseen'} aria-live="polite">
        {said !== null && words[said]}
      </span>
    </>
  );
}

interface DialogProps {
  label: string;
  onClose: () => void;
  children: ComponentChildren;
}

/** A modal dialog: the browser's own, which keeps the focus inside and gives it back. */
export function Dialog({ label, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const isGone = useRef(false);
  // That it is closed is told later, and would close the next one that was opened meanwhile.
  const closed = () => isGone.current || onClose();
  // At once: a key that comes before it is shown would not be the dialog's.
  useLayoutEffect(() => {
    const shown = dialog.current!;
    shown.showModal();
    return () => {
      isGone.current = true;
      // One that is merely taken away keeps the focus that it should give back.
      shown.close();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-label={label}
      onClose={closed}
      onClick={({ target }) => target === dialog.current && onClose()}
    >
      <div class="dialog">{children}</div>
    </dialog>
  );
}
