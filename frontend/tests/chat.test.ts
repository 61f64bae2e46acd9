import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Chat } from '../src/chat';
import { Outbox } from '../src/storage/outbox';
import type { Entry, Queued, SessionEvent } from '../src/log/events';
import { Browser } from './support/browser';
import { answer, linear, question, turn } from './support/entries';
import { FakeEventSource } from './support/eventSource';
import { Memory } from './support/memory';
import { Posts, taken } from './support/posts';
import { Server, sourceOf } from './support/server';

const delta = (id: string, text = 'word '): SessionEvent => ({ event: 'delta', id, data: { text } });
const message = (number: number, text = `Question ${number}`): SessionEvent => ({
  event: 'message',
  id: `${number}.0-0`,
  data: { role: 'user', text, turn: number, parent: number - 1 },
});

let posts: Posts;
let listed: number;
let model: string | undefined;
let outbox: Outbox;
let chat: Chat;

beforeEach(() => {
  vi.useFakeTimers();
  posts = new Posts();
  listed = 0;
  model = undefined;
  FakeEventSource.all = [];
  sessionStorage.clear();
  vi.stubGlobal('fetch', posts.fetch);
  vi.stubGlobal('EventSource', FakeEventSource);
});
afterEach(() => {
  chat.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function opened(session: string | null, store = new Memory()): Chat {
  const identity = { name: 'me', gone: async () => [] };
  outbox = new Outbox(
    identity,
    { changed: () => {}, accepted: (receipt) => chat.accepted(receipt), failed: () => {} },
    store,
  );
  chat = new Chat(session, 'me', outbox, {
    changed: () => {},
    listed: () => {
      listed += 1;
    },
    model: () => model,
  });
  chat.open();
  return chat;
}

/** Sends what each attach begins with. */
function attaches(messages: readonly Entry[], id: string, queued: readonly Queued[] = []): void {
  const isRunning = messages.at(-1)?.end === null;
  const now = isRunning ? 'streaming' : 'idle';
  FakeEventSource.last.opens();
  FakeEventSource.last.says({ event: 'snapshot', id, data: { session_id: 's', state: now, messages } });
  FakeEventSource.last.says({
    event: 'state',
    id: null,
    data: { state: now, turn: 1, queued, title: 'Streams', model: null },
  });
}

const branched = [...linear(3), ...turn(4, 1, 'Otherwise?')];

describe('a question', () => {
  test('names its parent only if that is not the newest turn', async () => {
    opened('s');
    attaches(branched, '4.1-9');
    chat.ask('More?');
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'More?' });
    await posts.accept(5);
    chat.choose(1, 2);
    chat.ask('And here?');
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'And here?', parent: 3 });
  });

  test('names no parent in an empty conversation', async () => {
    opened(null);
    chat.ask('Well?');
    await taken();
    expect(posts.last).toMatchObject({ path: '/sessions', body: { text: 'Well?' } });
  });

  test('that is edited becomes a branch beside the first, which is shown even if another was chosen', async () => {
    opened('s');
    attaches(branched, '4.1-9');
    chat.choose(1, 2);
    chat.askInstead({ turn: 2, parent: 1 }, 'Or so?');
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'Or so?', parent: 1 });
    FakeEventSource.last.says({
      event: 'message',
      id: '5.0-0',
      data: { role: 'user', text: 'Or so?', turn: 5, parent: 1 },
    });
    expect(chat.steps.map((step) => step.turn)).toStrictEqual([1, 5]);
  });

  test('that is edited interrupts a growing answer', async () => {
    opened('s');
    attaches([question(1, 0), { ...answer(1, 0), end: null }], '1.1-2');
    chat.askInstead({ turn: 1, parent: 0 }, 'Or so?');
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'Or so?', parent: 0, on_busy: 'interrupt' });
  });

  test('keeps its order, also on a branch', async () => {
    opened('s');
    attaches(branched, '4.1-9');
    chat.choose(1, 2);
    chat.ask('One');
    chat.ask('Two');
    await posts.accept(5);
    expect(posts.last.body).toStrictEqual({ text: 'Two', parent: 5 });
  });
});

describe('the chosen model', () => {
  test('is sent with each message, and is the one of the time when it was written', async () => {
    opened('s');
    attaches(linear(2), '2.1-9');
    model = 'alpha';
    chat.ask('One');
    chat.ask('Two');
    model = 'beta';
    chat.askInstead({ turn: 2, parent: 1 }, 'Question 2');
    for (const number of [3, 4, 5]) await posts.accept(number);
    expect(posts.all.map(({ body }) => body)).toStrictEqual([
      { text: 'One', model: 'alpha' },
      { text: 'Two', model: 'alpha' },
      { text: 'Question 2', parent: 1, model: 'beta' },
    ]);
  });

  test('is sent with the message that begins a session', async () => {
    opened(null);
    model = 'beta';
    chat.ask('Well?');
    await taken();
    expect(posts.last).toMatchObject({ path: '/sessions', body: { text: 'Well?', model: 'beta' } });
  });
});

describe('the model of an answer', () => {
  const said = (...events: SessionEvent[]) => events.forEach((event) => FakeEventSource.last.says(event));
  const start = (number: number, name: string): SessionEvent => ({
    event: 'start',
    id: `${number}.1-1`,
    data: { turn: number, attempt: 1, model: name },
  });
  const end = (number: number): SessionEvent => ({ event: 'end', id: `${number}.1-2`, data: { reason: 'stop' } });

  test('is that of its last attempt, also after a reload of this tab', () => {
    opened('s');
    attaches([], '0.0-0');
    said(message(1), start(1, 'alpha'), end(1), message(2), start(2, 'beta'), end(2));
    expect([1, 2, 3].map((number) => chat.modelOf(number))).toStrictEqual(['alpha', 'beta', null]);
    chat.close();
    opened('s');
    attaches(linear(2), '2.1-2');
    expect([1, 2, 3].map((number) => chat.modelOf(number))).toStrictEqual(['alpha', 'beta', null]);
  });

  test('is forgotten if the session is gone, whose numbers may begin anew', async () => {
    opened('s');
    attaches([], '0.0-0');
    said(message(1), start(1, 'alpha'), end(1));
    posts.isGone = true;
    FakeEventSource.last.isRefused();
    await taken();
    chat.close();
    opened('s');
    expect(chat.modelOf(1)).toBeNull();
  });
});

describe('a choice among branches', () => {
  test('outlives a reload of this tab', () => {
    opened('s');
    attaches(branched, '4.1-9');
    chat.choose(1, 2);
    chat.close();
    opened('s');
    attaches(branched, '4.1-9');
    expect(chat.steps.map((step) => step.turn)).toStrictEqual([1, 2, 3]);
    chat.choose(1, null);
    expect(chat.steps.map((step) => step.turn)).toStrictEqual([1, 4]);
  });

  test('belongs to one session', () => {
    opened('s');
    attaches(branched, '4.1-9');
    chat.choose(1, 2);
    chat.close();
    opened('other');
    expect(chat.choices).toStrictEqual({});
  });
});

describe('a new chat', () => {
  test('becomes a session with the 202 and shows its message at once', async () => {
    opened(null);
    chat.ask('Well?');
    await posts.accept(1);
    expect(chat.session).toBe('s');
    expect(chat.steps.map((step) => step.question.text)).toStrictEqual(['Well?']);
    expect(FakeEventSource.last.url).toBe('/sessions/s/events?last_event_id=1.0-0');
  });

  test('keeps its message until the log has it', async () => {
    const memory = new Memory();
    opened(null, memory);
    chat.ask('Well?');
    await posts.accept(1);
    expect(memory.keys()).toHaveLength(1);
    FakeEventSource.last.opens();
    FakeEventSource.last.says({
      event: 'state',
      id: null,
      data: { state: 'queued', turn: 1, queued: [], title: null, model: null },
    });
    expect(memory.keys()).toHaveLength(0);
  });
});

describe('an event', () => {
  const running = [question(1, 0), { ...answer(1, 0, 'So '), end: null }];

  test('that arrives before the conversation is ignored', () => {
    opened('s');
    FakeEventSource.last.opens();
    FakeEventSource.last.says(delta('1.1-5'));
    expect(chat.conversation.messages).toStrictEqual([]);
    attaches(running, '1.1-2');
    FakeEventSource.last.says(delta('1.1-3', 'be it'));
    expect(chat.conversation.messages.at(-1)!.text).toBe('So be it');
  });

  test('that was received before is not applied twice', () => {
    opened('s');
    attaches(running, '1.1-2');
    FakeEventSource.last.says(delta('1.1-3', 'be '));
    FakeEventSource.last.says(delta('1.1-3', 'be '));
    expect(chat.conversation.messages.at(-1)!.text).toBe('So be ');
  });

  test.each<[string, SessionEvent]>([
    ['a gap', delta('1.1-4')],
    ['a lost tail', delta('1.2-2')],
    ['a turn before the end of the last one', message(2)],
  ])('with %s makes the page ask for a snapshot', (_, event) => {
    opened('s');
    attaches(running, '1.1-2');
    const before = chat.conversation.messages;
    FakeEventSource.last.says(event);
    expect(chat.conversation.messages).toBe(before);
    vi.advanceTimersByTime(1_000);
    expect(FakeEventSource.all).toHaveLength(2);
    expect(FakeEventSource.last.cursor).toBeNull();
  });
});

describe('a discarded answer', () => {
  const running = [question(1, 0), { ...answer(1, 0, 'Half of it'), end: null }];
  const reset: SessionEvent = { event: 'reset', id: '1.1-3', data: { attempt: 2, why: 'It broke.' } };

  test('is kept beside the conversation until it is overtaken', () => {
    opened('s');
    attaches(running, '1.1-2');
    FakeEventSource.last.says(reset);
    expect(chat.conversation.messages.at(-1)!.text).toBe('');
    expect(chat.rewritings[1]!.discarded!.answer.text).toBe('Half of it');
    chat.overtaken(1);
    expect(chat.rewritings).toStrictEqual({ 1: { resets: 1, discarded: null } });
  });

  test('is replaced by a snapshot', () => {
    opened('s');
    attaches(running, '1.1-2');
    FakeEventSource.last.says(reset);
    attaches([question(1, 0)], '1.1-3');
    expect(chat.rewritings).toStrictEqual({});
  });

  test('is not sent to a tab that joins, which has not shown it', async () => {
    const server = new Server();
    server.ask('Question 1');
    server.say('Half of it');
    const browser = new Browser(() => 1);
    vi.stubGlobal('EventSource', sourceOf(server));
    const [leading, following] = [browser.open(), browser.open()];
    const leader = leading.do(() => opened('s'));
    await vi.advanceTimersByTimeAsync(5_000);
    server.replaceWorker();
    await vi.advanceTimersByTimeAsync(5_000);
    const follower = following.do(() => opened('s'));
    await vi.advanceTimersByTimeAsync(5_000);
    expect([leader, follower].map(({ conversation }) => conversation.messages.at(-1)!.text)).toStrictEqual(['', '']);
    expect(leader.rewritings[1]!.discarded!.answer.text).toBe('Half of it');
    expect(follower.rewritings).toStrictEqual({});
    leading.do(() => leader.close());
    following.do(() => follower.close());
  });
});

describe('a stream that reconnects', () => {
  test('has its time shown until the next question', () => {
    opened('s');
    attaches(linear(1), '1.1-9');
    expect(chat.resumedAt).toBeNull();
    FakeEventSource.last.breaks();
    FakeEventSource.last.opens();
    expect(chat.resumedAt).toStrictEqual(new Date());
    FakeEventSource.last.says(message(2));
    expect(chat.resumedAt).toBeNull();
  });

  test('sends the messages that failed without it', async () => {
    opened('s');
    attaches(linear(1), '1.1-9');
    FakeEventSource.last.breaks();
    chat.ask('Well?');
    await posts.lose();
    expect(outbox.of('s')[0]!.state).toBe('failed');
    FakeEventSource.last.opens();
    await posts.accept(2);
    expect(outbox.of('s')[0]!.state).toBe('accepted');
  });
});

describe('a lost accepted message', () => {
  async function accepted(): Promise<Memory> {
    const memory = new Memory();
    opened('s', memory);
    attaches(linear(1), '1.1-9');
    // Past the check that follows each attach.
    vi.advanceTimersByTime(2_000);
    chat.ask('Well?');
    await posts.accept(2);
    return memory;
  }

  test('is sent again a second after an attach that does not show it', async () => {
    await accepted();
    attaches(linear(1), '1.1-9');
    vi.advanceTimersByTime(900);
    await taken();
    expect(posts.all).toHaveLength(1);
    vi.advanceTimersByTime(200);
    await taken();
    expect(posts.texts).toStrictEqual(['Well?', 'Well?']);
  });

  test('is not sent again if it arrives within that second or is queued', async () => {
    await accepted();
    attaches(linear(1), '1.1-9');
    FakeEventSource.last.says(message(2, 'Well?'));
    vi.advanceTimersByTime(2_000);
    chat.ask('And?');
    await posts.accept(3);
    attaches([...linear(1), question(2, 1, 'Well?')], '2.1-2', [{ key: posts.last.key, text: 'And?' }]);
    vi.advanceTimersByTime(2_000);
    await taken();
    expect(posts.texts).toStrictEqual(['Well?', 'And?']);
  });

  test('is not sent again after a connection that broke at once', async () => {
    await accepted();
    attaches(linear(1), '1.1-9');
    FakeEventSource.last.breaks();
    vi.advanceTimersByTime(2_000);
    await taken();
    expect(posts.all).toHaveLength(1);
  });

  test('is sent again by a following tab, which has no attach', async () => {
    const memory = await accepted();
    chat.close();
    const server = new Server();
    server.ask('Question 1');
    server.end();
    const browser = new Browser(() => 1);
    vi.stubGlobal('EventSource', sourceOf(server));
    const [leading, following] = [browser.open(), browser.open()];
    const leader = leading.do(() => opened('s'));
    await vi.advanceTimersByTimeAsync(5_000);
    const before = posts.all.length;
    following.do(() => opened('s', memory));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.opened).toBe(1);
    expect(posts.all.slice(before).map(({ body }) => body['text'])).toStrictEqual(['Well?']);
    following.do(() => chat.close());
    leading.do(() => leader.close());
  });
});

describe('a session that is gone', () => {
  async function gone(): Promise<void> {
    posts.isGone = true;
    FakeEventSource.last.isRefused();
    await taken();
    expect(chat.connection).toStrictEqual({ kind: 'gone' });
  }

  test('is read from the start when it is begun again', async () => {
    opened(null);
    chat.ask('Well?');
    await posts.accept(1);
    FakeEventSource.last.opens();
    FakeEventSource.last.says({ event: 'start', id: '1.1-1', data: { turn: 1, attempt: 1, model: 'demo' } });
    await gone();
    await posts.accept(1);
    expect(posts.texts).toStrictEqual(['Well?', 'Well?']);
    expect(FakeEventSource.alive).toHaveLength(1);
    expect(FakeEventSource.last.cursor).toBeNull();
    expect(outbox.of('s')).toHaveLength(1);
    attaches([question(1, 0, 'Well?')], '1.0-0');
    expect(chat.connection).toStrictEqual({ kind: 'live' });
    expect(outbox.of('s')).toStrictEqual([]);
  });

  test('keeps its conversation and is not requested again', async () => {
    opened('s');
    attaches(linear(1), '1.1-9');
    await gone();
    expect(chat.steps).toHaveLength(1);
    chat.wake();
    chat.visibilityChanged();
    vi.advanceTimersByTime(120_000);
    expect(FakeEventSource.all).toHaveLength(1);
  });

  test('is read by all tabs when a following tab begins it again', async () => {
    const server = new Server();
    server.ask('Question 1');
    server.end();
    const browser = new Browser(() => 1);
    vi.stubGlobal('EventSource', sourceOf(server));
    const leader = browser.open().do(() => opened('s'));
    await vi.advanceTimersByTimeAsync(100);
    const following = browser.open();
    const memory = new Memory();
    const entry = {
      key: 'k',
      text: 'Well?',
      session: 's',
      state: 'accepted',
      sent: { session: null, body: { text: 'Well?' } },
      turn: 7,
      after: 0,
      why: null,
    };
    memory.set('outbox.me', [entry]);
    const follower = following.do(() => opened('s', memory));
    await vi.advanceTimersByTimeAsync(100);
    posts.isGone = server.isGone = true;
    server.cut();
    await vi.advanceTimersByTimeAsync(2_000);
    expect([leader, follower].map(({ connection }) => connection?.kind)).toStrictEqual(['gone', 'gone']);
    server.isGone = false;
    server.ask('Again');
    await posts.accept(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect([leader, follower].map(({ connection }) => connection?.kind)).toStrictEqual(['live', 'live']);
    for (const { conversation } of [leader, follower]) expect(conversation.messages).toStrictEqual(server.messages);
  });
});

test('the list is refreshed after a message, an end and another title', () => {
  opened('s');
  attaches(linear(1), '1.1-9');
  const before = listed;
  FakeEventSource.last.says(message(2));
  FakeEventSource.last.says({ event: 'start', id: '2.1-1', data: { turn: 2, attempt: 1, model: 'demo' } });
  FakeEventSource.last.says(delta('2.1-2'));
  FakeEventSource.last.says({ event: 'end', id: '2.1-3', data: { reason: 'stop' } });
  FakeEventSource.last.says({
    event: 'state',
    id: null,
    data: { state: 'idle', turn: 2, queued: [], title: 'Rivers', model: null },
  });
  expect(listed - before).toBe(3);
});
