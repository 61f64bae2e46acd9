// The text box: its keys, its buttons, and the draft that outlives a reload.

import { useImperativeHandle, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Ref } from 'preact';

import type { Chat } from '../chat';
import { drafts } from '../storage/drafts';
import { useWords } from '../words/words';
import { IconButton } from './controls';
import { isSending } from './keys';

export interface ComposerHandle {
  focus(): void;
  /** Puts text into the box, before the text that is there. */
  giveBack(text: string): void;
}

interface ComposerProps {
  chat: Chat;
  session: string | null;
  isClosed: boolean;
  isRunning: boolean;
  isStopping: boolean;
  onSend: (text: string) => void;
  onStop: () => void;
  /** Called for the up arrow in an empty box. */
  onEditLast: () => void;
  /** The names of the models to choose from, and the chosen one; null if there is no choice. */
  models: { all: readonly string[]; chosen: string } | null;
  onModel: (name: string) => void;
  handle: Ref<ComposerHandle>;
}

export function Composer({
  chat,
  session,
  isClosed,
  isRunning,
  isStopping,
  onSend,
  onStop,
  onEditLast,
  models,
  onModel,
  handle,
}: ComposerProps) {
  const words = useWords();
  const box = useRef<HTMLTextAreaElement>(null);
  const [isEmpty, setEmpty] = useState(true);
  const [isKept, setKept] = useState(true);
  const fill = (text: string) => {
    box.current!.value = text;
    grow(box.current!);
    setEmpty(text.trim() === '');
  };
  const keep = () => {
    const { value } = box.current!;
    grow(box.current!);
    setEmpty(value.trim() === '');
    setKept(drafts.keep(chat.session, value));
  };
  useDraft(chat, session, fill, keep);
  useImperativeHandle(handle, () => ({
    focus: () => box.current!.focus(),
    giveBack: (text) => {
      const { value } = box.current!;
      fill(value === '' ? text : `${text}\n${value}`);
      keep();
      box.current!.focus();
    },
  }));
  const submit = () => {
    const text = box.current!.value.toWellFormed();
    if (text.trim() === '' || isClosed) return;
    fill('');
    keep();
    onSend(text);
  };
  const key = (event: KeyboardEvent) => {
    if (isSending(event)) {
      event.preventDefault();
      submit();
    } else if (event.key === 'ArrowUp' && box.current!.value === '' && !event.isComposing) {
      event.preventDefault();
      onEditLast();
    }
  };
  return (
    <form
      class={`composer${models === null ? '' : ' with-models'}`}
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <label class="unseen" for="text">
        {words.message}
      </label>
      <textarea
        id="text"
        ref={box}
        rows={1}
        dir="auto"
        autocomplete="off"
        placeholder={words.placeholder}
        onInput={keep}
        onKeyDown={key}
      />
      {models !== null && (
        <label class="choice" title={words.model}>
          <select
            id="model-choice"
            aria-label={words.model}
            value={models.chosen}
            onChange={({ currentTarget }) => onModel(currentTarget.value)}
          >
            {models.all.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
      {isRunning && (
        <IconButton
          class="stop"
          icon="stop"
          label={isStopping ? words.stopping : words.stop}
          disabled={isStopping}
          onClick={onStop}
        />
      )}
      {(!isRunning || !isEmpty) && (
        <IconButton class="send" type="submit" icon="send" label={words.send} disabled={isClosed || isEmpty} />
      )}
      {!isKept && !isEmpty && <p class="draft-note">{words.notKept}</p>}
    </form>
  );
}

/**
 * Shows the draft of the open session. When a new chat becomes a session, the text in the box becomes that session's
 * draft.
 */
function useDraft(chat: Chat, session: string | null, fill: (text: string) => void, keep: () => void): void {
  const shown = useRef<{ chat: Chat; session: string | null } | null>(null);
  useLayoutEffect(() => {
    const before = shown.current;
    shown.current = { chat, session };
    if (before?.chat === chat && before.session === session) return;
    if (before?.chat === chat) {
      drafts.keep(before.session, '');
      keep();
      return;
    }
    fill(drafts.of(session));
  }, [chat, session]);
  useLayoutEffect(focusBox, [chat]);
}

export function focusBox(): void {
  // On a phone, the focus would raise the keyboard over the conversation.
  if (matchMedia('(pointer: fine)').matches) document.getElementById('text')?.focus();
}

/** Makes the box as high as its text, up to the style sheet's limit. */
function grow(box: HTMLTextAreaElement): void {
  if (CSS.supports('field-sizing', 'content')) return;
  box.style.height = 'auto';
  box.style.height = `${box.scrollHeight}px`;
}
