import { describe, expect, test } from 'vitest';

import { type Conversation, begun, fresh, lastTurn, phase, take } from '../../src/log/conversation';
import type { Entry, Queued, SessionEvent, SessionState } from '../../src/log/events';
import { answer, linear, question, turn } from '../support/entries';

const message = (number: number, text = `Question ${number}`): SessionEvent => ({
  event: 'message',
  id: `${number}.0-0`,
  data: { role: 'user', text, turn: number, parent: number - 1 },
});
const start = (id: string, attempt = 1, model = 'scripted'): SessionEvent => ({
  event: 'start',
  id,
  data: { turn: Number.parseInt(id, 10), attempt, model },
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
  test('is the id of the last logged event', () => {
    expect(after(message(1), start('1.1-1'), delta('1.1-2')).cursor).toBe('1.1-2');
    expect(after(snapshot('7.2-9')).cursor).toBe('7.2-9');
  });

  test.each<SessionEvent>([state('streaming'), { event: 'ping', id: null, data: {} }])(
    'is not moved by $event',
    (event) => {
      // An EventSource gives an event without an id the last id that it received.
      expect(after(message(1), { ...event, id: '9.9-9' }).cursor).toBe('1.0-0');
    },
  );
});

describe('an event that cannot be read', () => {
  // What the network brings has any type.
  const unreadable = (event: string, data: unknown) => ({ event, id: '1.1-3', data }) as unknown as SessionEvent;

  test.each([
    unreadable('delta', null),
    unreadable('delta', { text: 7 }),
    unreadable('reasoning', []),
    unreadable('tool', { id: 1, name: 'clock' }),
    unreadable('start', { attempt: 1 }),
    unreadable('message', { role: 'user', text: 'x', turn: '1', parent: 0 }),
    unreadable('snapshot', { messages: [{}] }),
    unreadable('snapshot', {}),
    unreadable('state', { state: 'idle', queued: null }),
    unreadable('news', 'from a later server'),
  ])('moves the cursor at most: %j', (event) => {
    const before = after(message(1), start('1.1-1'), delta('1.1-2'));
    const cursor = event.event === 'state' ? '1.1-2' : '1.1-3';
    expect(take(before, event)).toStrictEqual({ ...before, cursor });
  });

  test.each([null, {}, { reason: 'burst' }, { reason: 'error', error: 'x' }])('still ends the answer: %j', (data) => {
    const ended = take(after(message(1), start('1.1-1'), delta('1.1-2')), unreadable('end', data));
    expect(ended.messages.at(-1)).toMatchObject({ text: 'word ', end: 'error' });
    expect(phase(ended)).toBe('idle');
  });
});

describe('an answer that broke off', () => {
  test('is reported as continued without a reset', () => {
    expect(after(message(1), start('1.1-1'), delta('1.1-2'), start('1.2-3')).takeover).toStrictEqual({
      attempt: 1,
      began: 'on',
      model: null,
    });
  });

  test('is reported with its attempt from the reset on', () => {
    const began = after(message(1), start('1.1-1'), delta('1.1-2'), reset('1.2-3', 2));
    expect(began.takeover).toStrictEqual({ attempt: 2, began: 'again', model: null });
    expect(take(began, start('1.2-4', 2)).takeover).toStrictEqual({ attempt: 2, began: 'again', model: null });
  });

  test('is reported even if it had no text', () => {
    expect(after(message(1), start('1.2-1', 2)).takeover).toStrictEqual({ attempt: 2, began: 'fresh', model: null });
  });

  test('is reported to a reader who joined in mid-answer', () => {
    expect(
      after(snapshot('1.1-5', [question(1, 0), { ...answer(1, 0), end: null }], 'streaming'), start('1.2-6')).takeover,
    ).toStrictEqual({
      attempt: 1,
      began: 'on',
      model: null,
    });
  });

  test('is reported as its last attempt', () => {
    const twice = after(
      message(1),
      start('1.1-1'),
      reset('1.2-2', 2),
      start('1.2-3', 2),
      reset('1.3-4', 3),
      start('1.3-5', 3),
    );
    expect(twice.takeover).toStrictEqual({ attempt: 3, began: 'again', model: null });
  });

  test('is not reported at the first start', () => {
    expect(after(message(1), start('1.1-1')).takeover).toBeNull();
    expect(after(message(1), start('1.1-1'), end('1.1-2'), message(2), start('2.1-1')).takeover).toBeNull();
  });

  test('is not reported any more after the next question or a snapshot', () => {
    const replaced = after(message(1), start('1.1-1'), start('1.2-2'));
    expect(take(replaced, message(2)).takeover).toBeNull();
    expect(take(replaced, snapshot('1.2-2')).takeover).toBeNull();
  });
});

describe('the model of an attempt', () => {
  const broken = after(message(1), start('1.1-1', 1, 'one'), delta('1.1-2'));

  test('is reported if it is another one', () => {
    expect(take(broken, start('1.1-3', 2, 'two')).takeover).toStrictEqual({ attempt: 2, began: 'on', model: 'two' });
    const again = take(broken, reset('1.1-3', 2));
    expect(take(again, start('1.1-4', 2, 'two')).takeover).toStrictEqual({ attempt: 2, began: 'again', model: 'two' });
    expect(take(again, start('1.1-4', 2, 'one')).takeover).toBe(again.takeover);
  });

  test('is compared with that of the same turn, even if `state` names the new one first', () => {
    const asked = after(message(1), start('1.1-1', 1, 'one'), end('1.1-2'), message(2), start('2.1-1', 1, 'two'));
    expect(asked.takeover).toBeNull();
    const told = take(broken, state('streaming', [], { model: 'two' }));
    expect(take(told, start('1.1-3', 2, 'two')).takeover?.model).toBe('two');
  });

  test('is reported if the question names another one', () => {
    const asked = (model: string) =>
      take(fresh, { ...message(1), data: { ...message(1).data, model } } as SessionEvent);
    expect(take(asked('one'), start('1.1-1', 1, 'one')).takeover).toBeNull();
    expect(take(asked('one'), start('1.1-1', 1, 'two')).takeover).toStrictEqual({
      attempt: 1,
      began: 'fresh',
      model: 'two',
    });
  });

  test('is told to a reader who joined after its start', () => {
    const asked = { ...question(1, 0), model: 'one' };
    const joined = (now: SessionState, model: string, ...answers: Entry[]) =>
      after(snapshot('1.1-5', [asked, ...answers], now), state(now, [], { model })).takeover;
    const told = { attempt: 0, began: 'fresh', model: 'two' };
    expect(joined('streaming', 'two')).toStrictEqual(told);
    expect(joined('streaming', 'two', { ...answer(1, 0), end: null })).toStrictEqual(told);
    expect(joined('streaming', 'one')).toBeNull();
    const early = after(snapshot('1.1-1', [asked], 'streaming'), state('streaming', [], { model: 'two' }));
    expect(take(early, start('1.1-2', 2, 'two')).takeover).toStrictEqual({ ...told, attempt: 2 });
    const unnamed = after(snapshot('1.1-1', [question(1, 0)], 'streaming'), state('streaming', [], { model: 'one' }));
    expect(unnamed.takeover).toBeNull();
    expect(take(unnamed, state('streaming', [], { model: 'two' })).takeover).toStrictEqual(told);
    const late = after(snapshot('1.1-5', [asked], 'streaming'), state('streaming', [], { model: 'one' }));
    expect(take(late, state('streaming', [], { model: 'two' }))).toMatchObject({
      takeover: told,
      attempts: { 1: { count: 0, model: 'two' } },
    });
    expect(joined('queued', 'two')).toBeNull();
    expect(joined('idle', 'two', answer(1, 0))).toBeNull();
  });

  test('is that of the answer', () => {
    const healed = after(message(1), start('1.1-1', 1, 'one'), delta('1.1-2'), start('1.1-3', 2, 'two'), end('1.1-4'));
    expect(take(healed, message(2)).attempts).toStrictEqual({ 1: { count: 2, model: 'two' } });
  });

  test('is that of the newest answer in a snapshot, from the state', () => {
    const joined = after(snapshot('2.1-9', linear(2)), state('idle', [], { model: 'one' }));
    expect(joined.attempts).toStrictEqual({ 2: { count: 0, model: 'one' } });
    const waiting = after(snapshot('2.0-0', [...linear(1), question(2, 1)], 'queued'));
    expect(take(waiting, state('queued', [], { model: 'one' })).attempts).toStrictEqual({});
  });
});

describe('the number of attempts', () => {
  const usage = { input_tokens: 1, output_tokens: 1, source: 'reported' } as const;
  const ended = (before: Conversation, attempts?: readonly unknown[]): Conversation['attempts'] =>
    take(before, {
      event: 'end',
      id: '1.1-9',
      data: { reason: 'error', usage: { ...usage, ...(attempts && { attempts }) } },
    }).attempts;

  test('is that of the last start, or of the usage if that counts more', () => {
    const twice = after(message(1), start('1.1-1'), start('1.1-2', 2));
    expect(ended(twice)[1]!.count).toBe(2);
    expect(ended(twice, [{}, {}, {}])[1]!.count).toBe(3);
    expect(ended(after(message(1)), [{}, {}])).toStrictEqual({ 1: { count: 2, model: null } });
  });

  test('is unknown after a snapshot', () => {
    expect(take(after(message(1), start('1.1-1', 3)), snapshot('1.1-2')).attempts).toStrictEqual({});
  });
});

describe('a queued message', () => {
  const waiting: Queued[] = [
    { key: 'a', text: 'One' },
    { key: 'b', text: 'Two' },
    { key: 'c', text: 'One' },
  ];

  test('leaves the queue when it is logged, and no other does', () => {
    const queued = after(message(1), state('streaming', waiting));
    expect(take(queued, message(2, 'One')).queued).toStrictEqual(waiting.slice(1));
    expect(take(queued, message(2, 'Else')).queued).toBe(queued.queued);
  });

  test('is taken from the newest state', () => {
    expect(after(state('streaming', waiting), state('idle')).queued).toStrictEqual([]);
  });
});

describe('the phase follows from the log', () => {
  test.each<[string, Conversation, string]>([
    ['nothing was asked', fresh, 'idle'],
    ['a message waits for its worker', after(message(1), state('queued')), 'queued'],
    ['a worker has begun', after(message(1), state('queued'), start('1.1-1')), 'streaming'],
    ['text arrives', after(message(1), state('queued'), delta('1.1-2')), 'streaming'],
    ['the answer ended, whatever the last state was', after(message(1), start('1.1-1'), end('1.1-2')), 'idle'],
    ['a reset removed all text', after(message(1), delta('1.1-2'), reset('1.2-3', 2)), 'streaming'],
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

describe('the rest of the conversation', () => {
  test('is taken from the state, and the model from the last start', () => {
    expect(after(state('idle', [], { title: 'Streams', model: 'one' }))).toMatchObject({
      title: 'Streams',
      model: 'one',
    });
    expect(after(state('idle', [], { model: 'one' }), message(1), start('1.1-1')).model).toBe('scripted');
  });

  test('keeps the model if a state has none', () => {
    expect(after(message(1), start('1.1-1'), state('streaming')).model).toBe('scripted');
  });

  test('is kept by a snapshot, which has only messages', () => {
    const before = after(state('streaming', [{ key: 'a', text: 'One' }], { title: 'Streams', model: 'one' }));
    expect(take(before, snapshot('1.1-9'))).toMatchObject({
      title: 'Streams',
      model: 'one',
      queued: [{ key: 'a', text: 'One' }],
    });
  });
});

test('a session that was just begun has the cursor of its log', () => {
  const conversation = begun(1, 'Well?');
  expect(conversation).toStrictEqual({ ...after(message(1, 'Well?'), state('queued')) });
  expect(begun(1, 'Well?', 'one').messages[0]!.model).toBe('one');
  expect(phase(conversation)).toBe('queued');
  expect(take(conversation, start('1.1-1'))).toMatchObject({ takeover: null, state: 'streaming' });
});

test('the last turn is the newest logged one, and 0 before the first', () => {
  expect(lastTurn(fresh)).toBe(0);
  expect(lastTurn({ messages: linear(3) })).toBe(3);
});
