// Answers that a `reset` discarded. The page shows the last text greyed until the new answer has overtaken it, so that
// a reader can go on reading. It is no part of the conversation: it is neither stored nor copied, exported or sent to
// other tabs.

import type { EndReason, Entry, SessionEvent } from './events';
import { type Messages, answerIn, isReadable, turnOf } from './fold';

/** What the page shows of a turn that was reset. */
export interface Rewriting {
  /** How many times the turn was reset. An attempt is drawn under this number, so that it keeps its elements. */
  readonly resets: number;
  /** The greyed answer and the number of resets before it; null once it is overtaken. */
  readonly discarded: { readonly answer: Entry; readonly resets: number } | null;
}

/** The rewritten turns, by their numbers. */
export type Rewritings = Readonly<Record<number, Rewriting>>;

export const noRewritings: Rewritings = Object.freeze({});

// The new answer of these ends is cut, and the old text may be all that a reader has. Any other end is the model's own.
const CUTS: ReadonlySet<EndReason> = new Set(['error', 'stopped']);

/** The rewritings after an event. `conversation` is the one before it. */
export function rewritten(before: Rewritings, conversation: Messages, event: SessionEvent): Rewritings {
  // The fold takes an `end` that cannot be read as an error.
  if (!isReadable(event) && event.event !== 'reset') return before;
  switch (event.event) {
    case 'snapshot':
      return noRewritings;
    case 'reset': {
      const turn = turnOf(event.id);
      const { resets, discarded } = before[turn] ?? { resets: 0, discarded: null };
      const answer = answerIn(conversation, turn);
      return { ...before, [turn]: { resets: resets + 1, discarded: longer(discarded, answer, resets) } };
    }
    case 'end':
      return CUTS.has(event.data.reason) ? before : overtaken(before, turnOf(event.id));
    default:
      return before;
  }
}

/** The rewritings without the greyed answer of a turn. */
export function overtaken(before: Rewritings, turn: number): Rewritings {
  const rewriting = before[turn];
  return rewriting?.discarded ? { ...before, [turn]: { ...rewriting, discarded: null } } : before;
}

/** Of two attempts that broke off, the longer one is kept: its end is where a reader may be. */
function longer(kept: Rewriting['discarded'], answer: Entry | undefined, resets: number): Rewriting['discarded'] {
  if (answer === undefined || (kept !== null && kept.answer.text.length > answer.text.length)) return kept;
  return { answer, resets };
}
