// The branches of a conversation. An edited question or a regenerated answer is a new turn of the same parent. The page
// shows one path through this tree, from the first question to the last answer.

import type { Entry } from './events';

/** The turn that the reader chose behind each parent. Without a choice, the path leads to the newest turn. */
export type Choices = Readonly<Record<number, number>>;

/** A turn on the path and its alternatives: other questions, and other answers to this question. */
export interface Step {
  readonly turn: number;
  readonly parent: number;
  readonly question: Entry;
  readonly answer: Entry | null;
  readonly questions: readonly number[];
  readonly answers: readonly number[];
}

export function path(messages: readonly Entry[], choices: Choices): Step[] {
  const turns = grouped(messages);
  const children = childrenOf(turns);
  const newest = newestBelow(turns);
  const steps: Step[] = [];
  for (
    let at = chosen(0, children, choices, newest);
    at !== undefined;
    at = chosen(at.turn, children, choices, newest)
  ) {
    steps.push(step(at, children.get(at.parent) ?? []));
  }
  return steps;
}

/** The last turn of the path, which the next question follows. */
export function tip(steps: readonly Step[]): number {
  return steps.at(-1)?.turn ?? 0;
}

interface Turn {
  turn: number;
  parent: number;
  question: Entry;
  answer: Entry | null;
}

function grouped(messages: readonly Entry[]): Turn[] {
  const turns = new Map<number, Turn>();
  for (const entry of messages) {
    const { turn, parent } = entry;
    const known = turns.get(turn);
    if (known === undefined) turns.set(turn, { turn, parent, question: entry, answer: null });
    else if (entry.role === 'assistant') known.answer = entry;
  }
  // A turn whose parent is missing becomes a root, so that it is shown.
  for (const turn of turns.values()) if (!turns.has(turn.parent)) turn.parent = 0;
  return [...turns.values()].sort((one, other) => one.turn - other.turn);
}

function childrenOf(turns: readonly Turn[]): Map<number, Turn[]> {
  const children = new Map<number, Turn[]>();
  for (const turn of turns) {
    const known = children.get(turn.parent);
    if (known === undefined) children.set(turn.parent, [turn]);
    else known.push(turn);
  }
  return children;
}

/** The newest turn in the subtree of each turn. A child's number is always greater than its parent's. */
function newestBelow(turns: readonly Turn[]): Map<number, number> {
  const newest = new Map<number, number>();
  for (const { turn, parent } of turns.toReversed()) {
    const here = newest.get(turn) ?? turn;
    newest.set(turn, here);
    newest.set(parent, Math.max(here, newest.get(parent) ?? 0));
  }
  return newest;
}

function chosen(
  parent: number,
  children: ReadonlyMap<number, Turn[]>,
  choices: Choices,
  newest: ReadonlyMap<number, number>,
): Turn | undefined {
  const here = children.get(parent) ?? [];
  const wanted = here.find(({ turn }) => turn === choices[parent]);
  const below = ({ turn }: Turn) => newest.get(turn) ?? turn;
  return (
    wanted ??
    here.reduce<Turn | undefined>((best, turn) => (best && below(best) > below(turn) ? best : turn), undefined)
  );
}

/**
 * Siblings with the same text are answers to one question. Each other text is one question, represented by its newest
 * turn.
 */
function step(at: Turn, siblings: readonly Turn[]): Step {
  const answers = siblings.filter(({ question }) => question.text === at.question.text).map(({ turn }) => turn);
  const byText = new Map<string, number>();
  for (const { turn, question } of siblings) byText.set(question.text, turn);
  byText.set(at.question.text, at.turn);
  return { ...at, questions: [...byText.values()], answers };
}
