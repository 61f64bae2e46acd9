// The conversation: the logged turns, then the queued messages, then the unsent messages of this tab.

import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { isKnown, type Unsent } from '../storage/outbox';
import { phase } from '../log/conversation';
import type { Step } from '../log/branches';
import type { Queued } from '../log/events';
import type { Page } from '../page';
import { reason } from '../words/status';
import { useWords } from '../words/words';
import { focusBox } from './Composer';
import type { AutoScroll } from './autoScroll';
import { Turn, type TurnActions } from './Turn';

// How many turns are drawn. Turns out of sight cost as much as visible ones, and a session may have thousands.
const DRAWN = 40;

interface TranscriptProps {
  page: Page;
  autoScroll: AutoScroll;
  steps: readonly Step[];
  edited: number | null;
  onEdit: (turn: number | null) => void;
  onTakeBack: (text: string) => void;
}

export function Transcript({ page, autoScroll, steps, edited, onEdit, onTakeBack }: TranscriptProps) {
  const words = useWords();
  const { chat, outbox } = page;
  const { conversation, session } = chat;
  const now = phase(conversation);
  const newest = conversation.messages.at(-1)?.turn;
  const [first, showEarlier] = useWindow(steps.length, autoScroll, chat);
  const chosen = useRef<{ row: string; way: string } | null>(null);
  useLayoutEffect(() => {
    if (chosen.current !== null && focusVersion(chosen.current)) chosen.current = null;
  });
  const actions: TurnActions = useMemo(
    () => ({
      mayAsk: !chat.isShared,
      edit: onEdit,
      askInstead: (step, text) => {
        onEdit(null);
        chat.askInstead(step, text);
        autoScroll.toBottom();
        // The row disappears with the button that had the focus.
        focusBox();
      },
      choose: (step, turn, who) => {
        chat.choose(step.parent, turn);
        chosen.current = { row: `${who}-${turn}`, way: turn < step.turn ? 'previous' : 'next' };
      },
      painted: autoScroll.keep,
      overtaken: (turn) => chat.overtaken(turn),
    }),
    [chat, autoScroll, onEdit],
  );
  const unsent = outbox.of(session).filter((entry) => !isKnown(entry, conversation));
  useLayoutEffect(() => autoScroll.keep());
  return (
    <>
      {first > 0 && (
        <p class="earlier">
          <button type="button" onClick={showEarlier}>
            {words.earlier}
          </button>
        </p>
      )}
      <ol class="conversation" id="conversation" aria-label={words.conversation}>
        {steps.slice(first).map((step) => (
          <Turn
            key={step.turn}
            step={step}
            rewriting={chat.rewritings[step.turn]}
            tried={conversation.attempts[step.turn]?.count}
            model={page.models.isChoice ? chat.modelOf(step.turn) : null}
            isLive={now !== 'idle' && step.turn === newest}
            isEdited={edited === step.turn}
            actions={actions}
          />
        ))}
        {conversation.queued.map((waiting, at) => (
          <QueuedRow key={`queued-${waiting.key ?? at}`} waiting={waiting} />
        ))}
        {unsent.map((entry) => (
          <UnsentRow
            key={`unsent-${entry.key}`}
            entry={entry}
            isKept={outbox.isKept}
            onRetry={() => outbox.retry(entry.key, page.model)}
            onTakeBack={() => onTakeBack(outbox.takeBack(entry.key))}
          />
        ))}
      </ol>
    </>
  );
}

/**
 * Focuses the same button in the row that has replaced the pressed one, so that the reader can go on through the
 * versions.
 */
function focusVersion({ row, way }: { row: string; way: string }): boolean {
  const versions = document.querySelector(`[data-row="${row}"] .versions`);
  const button =
    versions?.querySelector<HTMLElement>(`.${way}:enabled`) ?? versions?.querySelector<HTMLElement>('button:enabled');
  button?.focus();
  return versions !== null;
}

/** The first step that is drawn. It moves while the reader follows the answer, and stays while they read above. */
function useWindow(length: number, autoScroll: AutoScroll, chat: object): [number, () => void] {
  const newest = Math.max(0, length - DRAWN);
  const [from, setFrom] = useState(newest);
  const of = useRef(chat);
  const wanted =
    of.current !== chat || from > newest ? newest : autoScroll.isFollowing && newest - from > DRAWN ? newest : from;
  of.current = chat;
  useLayoutEffect(() => setFrom(wanted));
  return [wanted, () => autoScroll.holding(() => setFrom(Math.max(0, wanted - DRAWN)))];
}

function QueuedRow({ waiting }: { waiting: Queued }) {
  const words = useWords();
  return (
    <li class="row question waiting" data-row={`queued-${waiting.key ?? ''}`}>
      <h2 class="who">{words.you}</h2>
      <div class="text" dir="auto">
        {waiting.text}
      </div>
      <p class="note">{waiting.stopped ? words.queuedStopped : words.queued}</p>
    </li>
  );
}

interface UnsentRowProps {
  entry: Unsent;
  isKept: boolean;
  onRetry: () => void;
  onTakeBack: () => void;
}

function UnsentRow({ entry, isKept, onRetry, onTakeBack }: UnsentRowProps) {
  const words = useWords();
  const { state, why, text, key } = entry;
  const isFailed = state === 'failed';
  return (
    <li class="row question waiting" data-row={`unsent-${key}`}>
      <h2 class="who">{words.you}</h2>
      <div class="text" dir="auto">
        {text}
      </div>
      <p class={`note${isFailed ? ' bad' : ''}`}>
        {isFailed ? words.notSent(why === null ? '' : reason(words, why)) : words.unsent[state]}
      </p>
      {isFailed && !isKept && <p class="note bad">{words.notKept}</p>}
      {isFailed && (
        <p class="actions shown">
          <button type="button" onClick={onRetry}>
            {words.tryAgain}
          </button>
          <button type="button" onClick={onTakeBack}>
            {words.takeBack}
          </button>
        </p>
      )}
    </li>
  );
}
