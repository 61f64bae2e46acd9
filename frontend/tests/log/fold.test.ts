import { describe, expect, test } from 'vitest';

import type { Entry, SessionEvent } from '../../src/log/events';
import { type Messages, fold, nothing } from '../../src/log/fold';
import { linear } from '../support/entries';
import { frozen } from '../support/frozen';

interface Golden {
  name: string;
  events: SessionEvent[];
  expected: { messages: Entry[] };
}

/** Shared with the server's fold (tests/units/test_fold.py). */
const GOLDEN: Record<string, Golden> = import.meta.glob('../../../tests/transcripts/*.json', {
  eager: true,
  import: 'default',
});

const running = fold(
  fold(
    { messages: linear(2) },
    { event: 'message', id: '3.0-0', data: { role: 'user', text: 'Well?', turn: 3, parent: 2 } },
  ),
  { event: 'delta', id: '3.1-1', data: { text: 'So' } },
);

describe('the golden transcript', () => {
  test('exists', () => {
    expect(Object.keys(GOLDEN).length).toBeGreaterThan(20);
  });

  for (const [path, { name, events, expected }] of Object.entries(GOLDEN)) {
    test(`${path.split('/').at(-1)}: ${name}`, () => {
      expect(events.reduce(fold, nothing)).toStrictEqual(expected);
    });

    test(`${path.split('/').at(-1)} folds without writing to a state or an event`, () => {
      const folding = () =>
        events.map(frozen).reduce<Messages>((state, event) => fold(frozen(state), event), frozen(nothing));
      expect(folding).not.toThrow();
    });
  }
});

describe('an unchanged message keeps its identity', () => {
  const growing: SessionEvent[] = [
    { event: 'delta', id: '3.1-2', data: { text: ' be it' } },
    { event: 'reasoning', id: '3.1-2', data: { text: 'Hm' } },
    { event: 'tool', id: '3.1-2', data: { id: 't1', name: 'clock', arguments: '{}' } },
    { event: 'reset', id: '3.2-2', data: { attempt: 2, why: 'lease_expired' } },
    { event: 'end', id: '3.1-2', data: { reason: 'stop' } },
  ];

  test.each(growing)('while a $event changes an answer', (event) => {
    const after = fold(running, event).messages;
    expect(after).toHaveLength(running.messages.length);
    after.slice(0, -1).forEach((entry, at) => expect(entry).toBe(running.messages[at]));
    expect(after.at(-1)).not.toBe(running.messages.at(-1));
  });

  test.each<SessionEvent>([
    { event: 'ping', id: null, data: {} },
    { event: 'start', id: '3.1-2', data: { turn: 3, attempt: 1, model: 'demo' } },
    { event: 'state', id: null, data: { state: 'streaming', turn: 3, queued: [], title: null, model: null } },
    // The turn has no answer yet.
    { event: 'reset', id: '4.2-1', data: { attempt: 2, why: 'lease_expired' } },
  ])('and so do all messages after a $event that does not change them', (event) => {
    expect(fold(running, event)).toBe(running);
  });

  test('and so does a tool without a new result', () => {
    const call = (id: string, name: string): SessionEvent => ({
      event: 'tool',
      id: '3.1-2',
      data: { id, name, arguments: '{}' },
    });
    const called = [call('t1', 'clock'), call('t2', 'search')].reduce(fold, running);
    const answered = fold(called, { event: 'tool', id: '3.1-4', data: { id: 't2', name: 'search', result: 'found' } });
    const [before, after] = [called.messages.at(-1)!.tools!, answered.messages.at(-1)!.tools!];
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toStrictEqual({ id: 't2', name: 'search', arguments: '{}', result: 'found' });
  });
});
