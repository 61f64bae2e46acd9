import { describe, expect, test } from 'vitest';

import { type Rewritings, noRewritings, overtaken, rewritten } from '../../src/log/discarded';
import type { EndReason, SessionEvent } from '../../src/log/events';
import { type Messages, fold, nothing } from '../../src/log/fold';
import { linear } from '../support/entries';
import { frozen } from '../support/frozen';

const message = (turn: number): SessionEvent => ({
  event: 'message',
  id: `${turn}.0-0`,
  data: { role: 'user', text: 'Well?', turn, parent: turn - 1 },
});
const delta = (text: string, turn = 1): SessionEvent => ({ event: 'delta', id: `${turn}.1-2`, data: { text } });
const reasoning = (text: string): SessionEvent => ({ event: 'reasoning', id: '1.1-2', data: { text } });
const reset = (turn = 1): SessionEvent => ({
  event: 'reset',
  id: `${turn}.1-3`,
  data: { attempt: 2, why: 'It broke.' },
});
const end = (reason: EndReason): SessionEvent => ({ event: 'end', id: '1.1-9', data: { reason } });
const snapshot: SessionEvent = {
  event: 'snapshot',
  id: '1.1-9',
  data: { session_id: 's', state: 'streaming', messages: linear(1) },
};

function after(...events: SessionEvent[]): Rewritings {
  let [rewritings, messages]: [Rewritings, Messages] = [noRewritings, nothing];
  for (const event of events) {
    rewritings = rewritten(frozen(rewritings), frozen(messages), event);
    messages = fold(messages, event);
  }
  return rewritings;
}

/** The greyed text of a turn and the number of resets before it. */
function greyed(rewritings: Rewritings, turn = 1): [string, number] | null {
  const discarded = rewritings[turn]?.discarded ?? null;
  return discarded && [discarded.answer.text, discarded.resets];
}

describe('a discarded answer', () => {
  test('stays with all its parts', () => {
    const kept = after(message(1), reasoning('Hm.'), delta('Half '), delta('of it'), reset());
    expect(kept[1]!.discarded!.answer).toMatchObject({ text: 'Half of it', reasoning: 'Hm.' });
    expect(kept[1]!.resets).toBe(1);
  });

  test('stays while the new answer grows', () => {
    expect(
      greyed(after(message(1), delta('Half of it'), reset(), delta('Another'), delta(', longer one'))),
    ).toStrictEqual(['Half of it', 0]);
  });

  test.each<[string, string, [string, number]]>([
    ['a longer one', 'Half of another', ['Half of another', 1]],
    ['one of its length', 'Half of at', ['Half of at', 1]],
    ['a shorter one', 'Half', ['Half of it', 0]],
  ])('is compared with %s that is discarded, too', (_, second, expected) => {
    expect(greyed(after(message(1), delta('Half of it'), reset(), delta(second), reset()))).toStrictEqual(expected);
  });

  test('outlives any number of resets', () => {
    const kept = after(message(1), delta('Half of it'), reset(), reset(), delta('Ha'), reset());
    expect([greyed(kept), kept[1]!.resets]).toStrictEqual([['Half of it', 0], 3]);
  });

  test.each(['error', 'stopped'] as const)('stays after the end `%s`, which cuts the new one', (reason) => {
    const kept = after(message(1), delta('Half of it'), reset(), delta('Ha'), end(reason), message(2), delta('So', 2));
    expect(greyed(kept)).toStrictEqual(['Half of it', 0]);
  });

  test.each(['stop', 'length', 'content_filter'] as const)('goes with the end `%s`, however short', (reason) => {
    expect(greyed(after(message(1), delta('Half of it'), reset(), delta('Ha'), end(reason)))).toBeNull();
  });

  test('goes when it is overtaken, and the new one keeps its number', () => {
    const kept = overtaken(after(message(1), delta('Half of it'), reset()), 1);
    expect(kept).toStrictEqual({ 1: { resets: 1, discarded: null } });
    expect(overtaken(kept, 1)).toBe(kept);
    expect(overtaken(kept, 2)).toBe(kept);
  });

  test('goes with a snapshot', () => {
    expect(after(message(1), delta('Half of it'), reset(), snapshot)).toBe(noRewritings);
  });

  test.each(['end', 'snapshot', 'delta'] as const)('stays after an unreadable `%s`', (event) => {
    const unreadable = { event, id: '1.1-4', data: null } as unknown as SessionEvent;
    expect(greyed(after(message(1), delta('Half of it'), reset(), unreadable))).toStrictEqual(['Half of it', 0]);
  });

  test('is that of its own turn', () => {
    const kept = after(message(1), delta('One'), reset(), end('error'), message(2), delta('Two', 2), reset(2));
    expect([greyed(kept), greyed(kept, 2)]).toStrictEqual([
      ['One', 0],
      ['Two', 0],
    ]);
  });

  test('is none if the turn had no answer', () => {
    expect(after(message(1), reset())).toStrictEqual({ 1: { resets: 1, discarded: null } });
  });
});
