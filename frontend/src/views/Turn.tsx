// One turn: its question, its answer, and their buttons.

import { memo } from 'preact/compat';
import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { Answer } from '../answer/Answer';
import type { Step } from '../log/branches';
import type { Rewriting } from '../log/discarded';
import type { Entry, Tool } from '../log/events';
import { ending } from '../words/status';
import { languageIn, useWords } from '../words/words';
import { CopyButton, IconButton } from './controls';
import { isSending } from './keys';

export interface TurnActions {
  /** False for another owner's session, which can only be read. */
  mayAsk: boolean;
  edit(turn: number | null): void;
  askInstead(step: Step, text: string): void;
  /**
   * Shows another turn instead of this one; `who` tells whether the reader chose another question or another answer.
   */
  choose(step: Step, turn: number, who: Entry['role']): void;
  painted: () => void;
  /** The new answer of a turn is as high as the discarded one. */
  overtaken(turn: number): void;
}

interface TurnProps {
  step: Step;
  rewriting: Rewriting | undefined;
  /** The number of its attempts, if that is known. */
  tried: number | undefined;
  /** The model that wrote the answer, if readers can choose among several. */
  model: string | null;
  /** Whether its answer is awaited or grows. */
  isLive: boolean;
  isEdited: boolean;
  actions: TurnActions;
}

/** A turn is drawn again only if it has changed: a conversation has hundreds, and one grows. */
export const Turn = memo(TurnRows, (before: TurnProps, now: TurnProps) => {
  const [one, other] = [before.step, now.step];
  return (
    one.question === other.question &&
    one.answer === other.answer &&
    before.rewriting === now.rewriting &&
    before.tried === now.tried &&
    before.model === now.model &&
    before.isLive === now.isLive &&
    before.isEdited === now.isEdited &&
    before.actions === now.actions &&
    `${one.questions}/${one.answers}` === `${other.questions}/${other.answers}`
  );
});

function TurnRows({ isEdited, ...answer }: TurnProps) {
  const { step, isLive, actions } = answer;
  return (
    <>
      <Question step={step} isEdited={isEdited} actions={actions} />
      {(step.answer !== null || isLive) && <AnswerRow {...answer} />}
    </>
  );
}

function Question({ step, isEdited, actions }: Pick<TurnProps, 'step' | 'isEdited' | 'actions'>) {
  const words = useWords();
  const { turn, question, questions } = step;
  const row = useRef<HTMLLIElement>(null);
  const wasEdited = useRef(false);
  useLayoutEffect(() => {
    // If the editor had the focus when it disappeared, the focus returns to the edit button.
    const isLost = document.activeElement === document.body;
    if (wasEdited.current && !isEdited && isLost) row.current?.querySelector<HTMLElement>('.edit')?.focus();
    wasEdited.current = isEdited;
  }, [isEdited]);
  return (
    <li ref={row} class="row question" data-row={`user-${turn}`}>
      <h2 class="who">{words.you}</h2>
      {isEdited ? (
        <Editor
          text={question.text}
          onDone={(text) => (text === null ? actions.edit(null) : actions.askInstead(step, text))}
        />
      ) : (
        <>
          <div class="text" dir="auto" lang={languageIn(question.text)}>
            {question.text}
          </div>
          <div class="actions">
            <Versions all={questions} turn={turn} onChoose={(other) => actions.choose(step, other, 'user')} />
            {actions.mayAsk && (
              <IconButton class="edit" icon="edit" label={words.edit} onClick={() => actions.edit(turn)} />
            )}
            <CopyButton text={question.text} label={words.copy} />
          </div>
        </>
      )}
    </li>
  );
}

function AnswerRow({ step, rewriting, tried, model, isLive, actions }: Omit<TurnProps, 'isEdited'>) {
  const words = useWords();
  const { turn, question, answer, answers } = step;
  const text = answer?.text ?? '';
  const note = answer === null ? '' : ending(words, answer, tried);
  const isFailed = answer?.end === 'error';
  return (
    <li class={`row reply${isLive ? ' live' : ''}`} data-row={`assistant-${turn}`} data-end={answer?.end ?? ''}>
      <h2 class="who">{words.assistant}</h2>
      <Attempts turn={turn} answer={answer} rewriting={rewriting} isLive={isLive} actions={actions} />
      {note !== '' && <p class={`note${isFailed ? ' bad' : ''}`}>{note}</p>}
      {!isLive && (
        <div class="actions">
          <Versions all={answers} turn={turn} onChoose={(other) => actions.choose(step, other, 'assistant')} />
          {text !== '' && <CopyButton text={text} label={words.copyAnswer} />}
          {actions.mayAsk && <Again isFailed={isFailed} onAgain={() => actions.askInstead(step, question.text)} />}
          {model !== null && text !== '' && (
            <span class="by" title={`${words.model}: ${model}`}>
              {model}
            </span>
          )}
        </div>
      )}
    </li>
  );
}

interface AttemptsProps {
  turn: number;
  answer: Entry | null;
  rewriting: Rewriting | undefined;
  isLive: boolean;
  actions: TurnActions;
}

/**
 * The answer, and the one that was discarded, if there is one. Both are in the same place: the new answer covers the
 * old one line by line, and nothing moves when it is as long and the old one is removed.
 */
function Attempts({ turn, answer, rewriting, isLive, actions }: AttemptsProps) {
  const { resets, discarded } = rewriting ?? { resets: 0, discarded: null };
  const place = useRef<HTMLDivElement>(null);
  const compare = useRef<(() => void) | null>(null);
  useLayoutEffect(() => {
    if (discarded === null) return undefined;
    const [old, now] = place.current!.children as unknown as [HTMLElement, HTMLElement];
    // The Tab key must not lead to a link that is covered.
    for (const element of old.querySelectorAll<HTMLElement>('a, summary, [tabindex]')) element.tabIndex = -1;
    compare.current = () => {
      if (isAsLong(now, old)) actions.overtaken(turn);
      // A line covers an old one when it is full: the last of an old text would disappear with the first new word.
      now.style.visibility = isOneLine(now) ? 'hidden' : '';
    };
    const observer = new ResizeObserver(() => compare.current?.());
    observer.observe(old);
    observer.observe(now);
    return () => {
      compare.current = null;
      observer.disconnect();
      now.style.visibility = '';
    };
  }, [discarded, resets, turn, actions]);
  const painted = useMemo(
    () => () => {
      compare.current?.();
      actions.painted();
    },
    [actions],
  );
  return (
    <div class="attempts" ref={place}>
      {discarded !== null && (
        <Attempt key={discarded.resets} answer={discarded.answer} isDiscarded isOpen painted={painted} />
      )}
      <Attempt key={resets} answer={answer} isDiscarded={false} isOpen={isLive} painted={painted} />
    </div>
  );
}

/** Whether an attempt is higher than the other, or as high and has as much text: their last lines may differ. */
function isAsLong(one: HTMLElement, other: HTMLElement): boolean {
  const more = one.offsetHeight - other.offsetHeight;
  return more > 0 || (more === 0 && one.textContent.length >= other.textContent.length);
}

/** Whether an attempt is no more than a line of text. */
function isOneLine({ childElementCount, lastElementChild: text, offsetHeight }: HTMLElement): boolean {
  return childElementCount === 1 && offsetHeight < 1.5 * Number.parseFloat(getComputedStyle(text!).lineHeight);
}

interface AttemptProps {
  answer: Entry | null;
  isDiscarded: boolean;
  /** Whether more text may come. A discarded text stays open, so that it keeps the form in which it broke off. */
  isOpen: boolean;
  painted: () => void;
}

function Attempt({ answer, isDiscarded, isOpen, painted }: AttemptProps) {
  const words = useWords();
  const text = answer?.text ?? '';
  return (
    <div
      class={`attempt${isDiscarded ? ' discarded' : ''}`}
      {...(isDiscarded && { role: 'group', 'aria-label': words.discarded })}
    >
      {answer?.reasoning !== undefined && (
        <Reasoning text={answer.reasoning} isNow={isOpen && !isDiscarded && text === ''} />
      )}
      {answer?.tools?.map((tool) => (
        <ToolCall key={tool.id} tool={tool} />
      ))}
      <div class={isDiscarded ? 'discarded-text' : 'text'} lang={languageIn(text)}>
        <Answer text={text} open={isOpen} onPaint={painted} />
      </div>
    </div>
  );
}

function Again({ isFailed, onAgain }: { isFailed: boolean; onAgain: () => void }) {
  const words = useWords();
  if (isFailed) {
    return (
      <button type="button" class="retry" onClick={onAgain}>
        {words.retry}
      </button>
    );
  }
  return <IconButton icon="again" label={words.again} onClick={onAgain} />;
}

interface VersionsProps {
  all: readonly number[];
  turn: number;
  onChoose: (turn: number) => void;
}

/** ‹ 2/3 › */
function Versions({ all, turn, onChoose }: VersionsProps) {
  const words = useWords();
  if (all.length < 2) return null;
  const at = all.indexOf(turn);
  const [before, after] = [all[at - 1], all[at + 1]];
  return (
    <span class="versions" role="group" aria-label={words.older(at + 1, all.length)}>
      <IconButton
        class="previous"
        icon="previous"
        label={words.previous}
        disabled={before === undefined}
        onClick={() => before !== undefined && onChoose(before)}
      />
      <span aria-hidden="true">{`${at + 1}/${all.length}`}</span>
      <IconButton
        class="next"
        icon="next"
        label={words.next}
        disabled={after === undefined}
        onClick={() => after !== undefined && onChoose(after)}
      />
    </span>
  );
}

function Reasoning({ text, isNow }: { text: string; isNow: boolean }) {
  const words = useWords();
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="aside reasoning" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>{isNow ? words.reasoningNow : words.reasoning}</summary>
      {/* Folded reasoning is not rendered. */}
      {isOpen && <Answer text={text} open={isNow} />}
    </details>
  );
}

function ToolCall({ tool }: { tool: Tool }) {
  const words = useWords();
  return (
    <details class="aside tool">
      <summary>
        {words.tool(tool.name)}
        {tool.result === undefined ? ' …' : ''}
      </summary>
      <dl>
        {tool.arguments !== undefined && (
          <>
            <dt>{words.toolArguments}</dt>
            <dd dir="auto">{tool.arguments}</dd>
          </>
        )}
        {tool.result !== undefined && (
          <>
            <dt>{words.toolResult}</dt>
            <dd dir="auto">{tool.result}</dd>
          </>
        )}
      </dl>
    </details>
  );
}

/** Edits a question. `onDone` gets null if the reader cancels. */
function Editor({ text, onDone }: { text: string; onDone: (text: string | null) => void }) {
  const words = useWords();
  const box = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    box.current?.focus();
    box.current?.setSelectionRange(text.length, text.length);
  }, []);
  const submit = () => {
    const asked = box.current!.value.toWellFormed();
    if (asked.trim() !== '') onDone(asked);
  };
  const key = (event: KeyboardEvent) => {
    // During a composition the keys belong to the input method: Escape cancels its word.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === 'Escape') {
      event.stopPropagation();
      onDone(null);
    } else if (isSending(event)) {
      event.preventDefault();
      submit();
    }
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea ref={box} aria-label={words.edit} dir="auto" rows={3} defaultValue={text} onKeyDown={key} />
      <p class="actions">
        <button type="button" onClick={() => onDone(null)}>
          {words.cancel}
        </button>
        <button type="submit" class="primary">
          {words.ask}
        </button>
      </p>
    </form>
  );
}
