import { describe, expect, test } from 'vitest';

import { type Conversation, begun, fresh, lastTurn, phase, take } from '../../src/log/conversation';
import type { Queued, SessionEvent, SessionState } from '../../src/log/events';
import { linear, question, turn } from '../support/entries';

const message = (number: number, text = `Question ${number}`): SessionEvent => ({
  event: 'message',
  id: `${number}.0-0`,
  data: { role: 'user', text, turn: number, parent: number - 1 },
});
const start = (id: string, attempt = 1): SessionEvent => ({
  event: 'start',
  id,
  data: { turn: Number.parseInt(id, 10), attempt, model: 'scripted' },
});
const delta = (id: string, text = 'word '): SessionEvent => ({ event: 'delta', id, data: { text } });
const reset = (id: string, attempt: number): SessionEvent => ({
  event: 'reset',
  id,
  data: { attempt, why: 'lease_expired' },
});
const end = (id: string): SessionEvent => ({ event: 'end', id, data: { reason: 'stop' } });
const snapshot = (id: string, messages = linear(1), state: SessionState = 'idle'): SessionEvent => ({
  event: 'snapshot',
  id,
  data: { session_id: 's', state, messages },
});
const state = (
  now: SessionState,
  queued: Queued[] = [],
  rest: { title?: string | null; model?: string | null } = {},
): SessionEvent => ({
  event: 'state',
  id: null,
  data: { state: now, turn: 1, queued, title: null, model: null, ...rest },
});

const after = (...events: SessionEvent[]): Conversation => events.reduce(take, fresh);

describe('the cursor', () => {
  test('is the id of the last event of the log', () => {
    expect(after(message(1), start('1.1-1'), delta('1.1-2')).cursor).toBe('1.1-2');
    expect(after(snapshot('7.2-9')).cursor).toBe('7.2-9');
  });

  test.each<SessionEvent>([state('streaming'), { event: 'ping', id: null, data: {} }])(
    'is not moved by $event',
    (event) => {
      // An EventSource hands every event the last id that it saw, those without one too.
      expect(after(message(1), { ...event, id: '9.9-9' }).cursor).toBe('1.0-0');
    },
  );
});

describe('a worker that was replaced', () => {
  test('and goes on with the first words, is told as such', () => {
    expect(after(message(1), start('1.1-1'), delta('1.1-2'), start('1.2-3')).takeover).toStrictEqual({
      attempt: 1,
      began: 'on',
    });
  });

  test('and begins again, is told with its attempt, from the reset on', () => {
    const began = after(message(1), start('1.1-1'), delta('1.1-2'), reset('1.2-3', 2));
    expect(began.takeover).toStrictEqual({ attempt: 2, began: 'again' });
    expect(take(began, start('1.2-4', 2)).takeover).toStrictEqual({ attempt: 2, began: 'again' });
  });

  test('is told though it said nothing before it died', () => {
    expect(after(message(1), start('1.2-1', 2)).takeover).toStrictEqual({ attempt: 2, began: 'on' });
  });

  test('is told to a reader who came in the middle', () => {
    expect(after(snapshot('1.1-5', [question(1, 0)], 'streaming'), start('1.2-6')).takeover).toStrictEqual({
      attempt: 1,
      began: 'on',
    });
  });

  test('and replaced once more, is the last one', () => {
    const twice = after(
      message(1),
      start('1.1-1'),
      reset('1.2-2', 2),
      start('1.2-3', 2),
      reset('1.3-4', 3),
      start('1.3-5', 3),
    );
    expect(twice.takeover).toStrictEqual({ attempt: 3, began: 'again' });
  });

  test('is nobody at a first start', () => {
    expect(after(message(1), start('1.1-1')).takeover).toBeNull();
    expect(after(message(1), start('1.1-1'), end('1.1-2'), message(2), start('2.1-1')).takeover).toBeNull();
  });

  test('is forgotten with the next question, and with a snapshot', () => {
    const replaced = after(message(1), start('1.1-1'), start('1.2-2'));
    expect(take(replaced, message(2)).takeover).toBeNull();
    expect(take(replaced, snapshot('1.2-2')).takeover).toBeNull();
  });
});

describe('a message that waits', () => {
  const waiting: Queued[] = [
    { key: 'a', text: 'One' },
    { key: 'b', text: 'Two' },
    { key: 'c', text: 'One' },
  ];

  test('leaves the queue as it enters the log, and it alone', () => {
    const queued = after(message(1), state('streaming', waiting));
    expect(take(queued, message(2, 'One')).queued).toStrictEqual(waiting.slice(1));
    expect(take(queued, message(2, 'Else')).queued).toBe(queued.queued);
  });

  test('is the one that the newest state names', () => {
    expect(after(state('streaming', waiting), state('idle')).queued).toStrictEqual([]);
  });
});

describe('the phase is read off the log', () => {
  test.each<[string, Conversation, string]>([
    ['nothing was asked', fresh, 'idle'],
    ['a message waits for its worker', after(message(1), state('queued')), 'queued'],
    ['a worker began', after(message(1), state('queued'), start('1.1-1')), 'streaming'],
    ['words come', after(message(1), state('queued'), delta('1.1-2')), 'streaming'],
    ['the answer ended, whatever was last said of the state', after(message(1), start('1.1-1'), end('1.1-2')), 'idle'],
    ['a reset took all words', after(message(1), delta('1.1-2'), reset('1.2-3', 2)), 'streaming'],
    ['the next one is asked', after(message(1), end('1.1-1'), message(2), state('queued')), 'queued'],
    ['a snapshot is of an idle session', after(snapshot('1.1-9')), 'idle'],
    [
      'a snapshot holds a question that waits',
      after(snapshot('2.0-0', [...turn(1, 0), question(2, 1)], 'queued')),
      'queued',
    ],
  ])('when %s', (_, conversation, expected) => {
    expect(phase(conversation)).toBe(expected);
  });
});

describe('what stands around the messages', () => {
  test('is what the state says, and the model of the last start', () => {
    expect(after(state('idle', [], { title: 'Streams', model: 'one' }))).toMatchObject({
      title: 'Streams',
      model: 'one',
    });
    expect(after(state('idle', [], { model: 'one' }), message(1), start('1.1-1')).model).toBe('scripted');
  });

  test('keeps the model that is known where a state names none', () => {
    expect(after(message(1), start('1.1-1'), state('streaming')).model).toBe('scripted');
  });

  test('outlives a snapshot, which holds only messages', () => {
    const before = after(state('streaming', [{ key: 'a', text: 'One' }], { title: 'Streams', model: 'one' }));
    expect(take(before, snapshot('1.1-9'))).toMatchObject({
      title: 'Streams',
      model: 'one',
      queued: [{ key: 'a', text: 'One' }],
    });
  });
});

test('a session that was just begun stands where its log does: what comes next is the first start', () => {
  const conversation = begun(1, 'Well?');
  expect(conversation).toStrictEqual({ ...after(message(1, 'Well?'), state('queued')) });
  expect(phase(conversation)).toBe('queued');
  expect(take(conversation, start('1.1-1'))).toMatchObject({ takeover: null, state: 'streaming' });
});

test('the last turn is the newest in the log, and 0 before the first', () => {
  expect(lastTurn(fresh)).toBe(0);
  expect(lastTurn({ messages: linear(3) })).toBe(3);
});
