// A conversation branches where a question was edited or an answer was asked for again: turns of one parent. What is read
// is one path through them, from the first question to the last answer.

import type { Entry } from './events';

/** Which turn a reader chose behind a parent. Where nothing was chosen, the path leads to the newest turn. */
export type Choices = Readonly<Record<number, number>>;

/** A turn on the path, and those that could stand in its place: other questions, and other answers to this one. */
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

/** The last turn of the path: what is asked next follows it. */
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
  // A parent that is not here any more must not take its children along: they stand at the root.
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

/** The newest turn in the tree below each. A child's number is always above its parent's. */
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

/** Siblings of one text are answers to the same question; of the others each text counts once, by its newest turn. */
function step(at: Turn, siblings: readonly Turn[]): Step {
  const answers = siblings.filter(({ question }) => question.text === at.question.text).map(({ turn }) => turn);
  const byText = new Map<string, number>();
  for (const { turn, question } of siblings) byText.set(question.text, turn);
  byText.set(at.question.text, at.turn);
  return { ...at, questions: [...byText.values()], answers };
}
