// The conversation: what the log holds, then what waits in the queue, then what this tab has still to bring to the server.

import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { known, type Unsent } from '../storage/outbox';
import { phase } from '../log/conversation';
import type { Step } from '../log/branches';
import type { Queued } from '../log/events';
import type { Page } from '../page';
import { reason } from '../words/status';
import { useWords } from '../words/words';
import { focusBox } from './Composer';
import type { AutoScroll } from './autoScroll';
import { Turn, type TurnActions } from './Turn';

// What is out of sight costs as much as what is seen; a session may have thousands of turns.
const SHOWN = 40;

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
    if (chosen.current !== null && goOnAt(chosen.current)) chosen.current = null;
  });
  const actions: TurnActions = useMemo(
    () => ({
      mayAsk: !chat.isShared,
      edit: onEdit,
      askInstead: (step, text) => {
        onEdit(null);
        chat.askInstead(step, text);
        autoScroll.toBottom();
        // What was pressed goes with its row.
        focusBox();
      },
      choose: (step, turn, who) => {
        chat.choose(step.parent, turn);
        chosen.current = { row: `${who}-${turn}`, way: turn < step.turn ? 'previous' : 'next' };
      },
      painted: autoScroll.keep,
    }),
    [chat, autoScroll, onEdit],
  );
  const unsent = outbox.of(session).filter((entry) => !known(entry, conversation));
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
            onRetry={() => outbox.retry(entry.key)}
            onTakeBack={() => onTakeBack(outbox.takeBack(entry.key))}
          />
        ))}
      </ol>
    </>
  );
}

/** The row that was pressed went, and another stands in its place: there whoever leafs through versions goes on. */
function goOnAt({ row, way }: { row: string; way: string }): boolean {
  const versions = document.querySelector(`[data-row="${row}"] .versions`);
  const button =
    versions?.querySelector<HTMLElement>(`.${way}:enabled`) ?? versions?.querySelector<HTMLElement>('button:enabled');
  button?.focus();
  return versions !== null;
}

/** From which step on the conversation is drawn. It moves along with a reader who follows, and stays with one who reads. */
function useWindow(length: number, autoScroll: AutoScroll, chat: object): [number, () => void] {
  const newest = Math.max(0, length - SHOWN);
  const [from, setFrom] = useState(newest);
  const of = useRef(chat);
  const wanted =
    of.current !== chat || from > newest ? newest : autoScroll.isFollowing && newest - from > SHOWN ? newest : from;
  of.current = chat;
  useLayoutEffect(() => setFrom(wanted));
  return [wanted, () => autoScroll.holding(() => setFrom(Math.max(0, wanted - SHOWN)))];
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
