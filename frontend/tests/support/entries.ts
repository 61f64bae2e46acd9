// Conversations in the form of a snapshot.

import type { Entry } from '../../src/log/events';

export function question(turn: number, parent: number, text = `Question ${turn}`): Entry {
  return { turn, parent, role: 'user', text, end: null };
}

export function answer(turn: number, parent: number, text = `Answer ${turn}`): Entry {
  return { turn, parent, role: 'assistant', text, end: 'stop' };
}

export function turn(number: number, parent: number, text?: string): Entry[] {
  return [question(number, parent, text), answer(number, parent)];
}

/** Questions 1, 2, 3…, each answered, each after the one before it. */
export function linear(count: number): Entry[] {
  return Array.from({ length: count }, (_, at) => turn(at + 1, at)).flat();
}
