import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Outbox, type Receipt, type Unsent, isKnown } from '../../src/storage/outbox';
import { type Conversation, fresh } from '../../src/log/conversation';
import { linear, question } from '../support/entries';
import { Memory } from '../support/memory';
import { Posts, taken } from '../support/posts';

let posts: Posts;
let kept: Map<string, string>;
let memory: Memory;
let living: Set<string>;
let receipts: Receipt[];
let changes: number;

beforeEach(() => {
  posts = new Posts();
  kept = new Map();
  memory = new Memory(kept);
  living = new Set(['me']);
  [receipts, changes] = [[], 0];
  vi.stubGlobal('fetch', posts.fetch);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

/** The outbox of a tab that has just started, with the messages in its storage. */
function outbox(name = 'me', store = memory): Outbox {
  const identity = { name, gone: async (names: readonly string[]) => names.filter((other) => !living.has(other)) };
  const listener = {
    changed: () => {
      changes += 1;
    },
    accepted: (receipt: Receipt) => {
      receipts.push(receipt);
    },
  };
  return new Outbox(identity, listener, store);
}

function conversation(messages = linear(1), queued: Conversation['queued'] = []): Conversation {
  return { ...fresh, messages, queued };
}

const states = (box: Outbox, session: string | null = 's') => box.of(session).map(({ text, state }) => [text, state]);
const stored = (tab: string) => (memory.get(`outbox.${tab}`) ?? []) as Unsent[];

describe('messages of one session', () => {
  test('are sent in the order in which they were typed, one at a time', async () => {
    const box = outbox();
    for (const text of ['One', 'Two', 'Three']) box.add(text, 's', conversation());
    await taken();
    expect(posts.texts).toStrictEqual(['One']);
    await posts.accept(2);
    expect(posts.texts).toStrictEqual(['One', 'Two']);
    await posts.accept(3);
    await posts.accept(4);
    expect(posts.texts).toStrictEqual(['One', 'Two', 'Three']);
    expect(receipts.map(({ text, turn }) => [text, turn])).toStrictEqual([
      ['One', 2],
      ['Two', 3],
      ['Three', 4],
    ]);
  });

  test('wait behind one that failed', async () => {
    const box = outbox();
    for (const text of ['One', 'Two']) box.add(text, 's', conversation());
    await posts.refuse(429, 'queue_full');
    expect(states(box)).toStrictEqual([
      ['One', 'failed'],
      ['Two', 'waiting'],
    ]);
    expect(box.of('s')[0]!.why).toStrictEqual({ status: 429, code: 'queue_full', message: 'It said queue_full.' });
    expect(posts.waiting).toBe(0);
  });

  test('do not wait behind one that failed elsewhere', async () => {
    const box = outbox();
    box.add('One', 's', conversation());
    await posts.refuse(429, 'queue_full');
    box.add('Two', 'other', conversation());
    await posts.accept(2, 'other');
    expect(states(box, 'other')).toStrictEqual([['Two', 'accepted']]);
    expect(states(box)).toStrictEqual([['One', 'failed']]);
  });

  test('continue when the failed one is retried', async () => {
    const box = outbox();
    const key = box.add('One', 's', conversation());
    box.add('Two', 's', conversation());
    await posts.refuse(429, 'queue_full');
    box.retry(key);
    await posts.accept(2);
    await posts.accept(3);
    expect(posts.texts).toStrictEqual(['One', 'One', 'Two']);
    expect(states(box)).toStrictEqual([
      ['One', 'accepted'],
      ['Two', 'accepted'],
    ]);
  });

  test('continue when the failed one is taken back, which returns its text', async () => {
    const box = outbox();
    const key = box.add('One', 's', conversation());
    box.add('Two', 's', conversation());
    await posts.refuse(413, 'text_too_long');
    expect(box.takeBack(key)).toBe('One');
    await posts.accept(2);
    expect(states(box)).toStrictEqual([['Two', 'accepted']]);
    expect(box.takeBack('nobody')).toBe('');
  });
});

describe('a message that is sent again', () => {
  test.each(['lost', 'refused'] as const)('has the same key and the same body after it was %s', async (fate) => {
    const box = outbox();
    const key = box.add('One', 's', conversation(), { parent: 0, onBusy: 'interrupt' });
    if (fate === 'lost') await posts.lose();
    else await posts.refuse(503, 'store_unavailable');
    box.retry(key);
    await posts.accept(2);
    const [first, second] = posts.all;
    expect(second!.key).toBe(key);
    expect([second!.path, second!.body, second!.key]).toStrictEqual([first!.path, first!.body, first!.key]);
  });

  test('has the same body after a reload, even if its parent is known by now', async () => {
    const before = outbox();
    before.add('One', 's', conversation(), { parent: 1 });
    before.add('Two', 's', conversation(), { parent: 1 });
    await posts.accept(7);
    const asked = posts.last;
    expect(asked.body).toStrictEqual({ text: 'Two', parent: 7 });
    const after = outbox();
    // The message before it has its turn by now.
    after.removeLogged('s', conversation([...linear(1), question(7, 1, 'One')]));
    after.retryPassing();
    await taken();
    expect([posts.last.body, posts.last.key]).toStrictEqual([asked.body, asked.key]);
  });

  test('is not one that the server refused as invalid', async () => {
    const box = outbox();
    box.add('One', 'a', conversation());
    box.add('Two', 'b', conversation());
    box.add('Three', 'c', conversation());
    await posts.lose();
    await posts.refuse(422, 'invalid_body');
    await posts.refuse(502, 'anything');
    box.retryPassing();
    await taken();
    expect([states(box, 'a'), states(box, 'b'), states(box, 'c')]).toStrictEqual([
      [['One', 'sending']],
      [['Two', 'failed']],
      [['Three', 'waiting']],
    ]);
  });
});

describe('a new chat', () => {
  test('begins a session with its first message, and the second goes to that session', async () => {
    const box = outbox();
    box.add('One', null, fresh);
    box.add('Two', null, fresh);
    await posts.accept(1, 'new');
    expect(posts.last.path).toBe('/sessions/new/messages');
    await posts.accept(2, 'new');
    expect(posts.all.map(({ path }) => path)).toStrictEqual(['/sessions', '/sessions/new/messages']);
    expect(states(box, null)).toStrictEqual([]);
    expect(states(box, 'new')).toStrictEqual([
      ['One', 'accepted'],
      ['Two', 'accepted'],
    ]);
  });

  test('begins with the second message if the first was taken back', async () => {
    const box = outbox();
    const key = box.add('Too long', null, fresh);
    box.add('Two', null, fresh);
    await posts.refuse(413, 'text_too_long');
    box.takeBack(key);
    await posts.accept(1, 'new');
    expect(posts.last).toMatchObject({ path: '/sessions', body: { text: 'Two' } });
  });

  test('sends no parent', async () => {
    outbox().add('One', null, fresh);
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'One' });
  });
});

describe('the parent of a message', () => {
  test('is not sent if it is the newest turn', async () => {
    outbox().add('One', 's', conversation());
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'One' });
  });

  test('is sent if it is another turn, with what happens to the running one', async () => {
    outbox().add('One', 's', conversation(), { parent: 1, isBranch: true, onBusy: 'interrupt' });
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'One', parent: 1, on_busy: 'interrupt' });
  });

  test('may be the root', async () => {
    outbox().add('One', 's', conversation(), { parent: 0 });
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'One', parent: 0 });
  });

  test('is the message typed before it, whose turn is known only now', async () => {
    const box = outbox();
    box.add('One', 's', conversation(linear(3)), { parent: 1 });
    box.add('Two', 's', conversation(linear(3)), { parent: 1 });
    await posts.accept(4);
    expect(posts.last.body).toStrictEqual({ text: 'Two', parent: 4 });
  });

  test('is that message even if it was logged before its 202 arrived', async () => {
    const box = outbox();
    box.add('One', 's', conversation(linear(3)), { parent: 1 });
    box.add('Two', 's', conversation(linear(3)), { parent: 1 });
    await taken();
    box.removeLogged('s', conversation([...linear(3), question(4, 1, 'One')]));
    await posts.accept(4);
    expect(posts.last.body).toStrictEqual({ text: 'Two', parent: 4 });
  });

  test('is that message even if its 202 was lost but it is logged', async () => {
    const box = outbox();
    box.add('One', 's', conversation(linear(3)), { parent: 1 });
    box.add('Two', 's', conversation(linear(3)), { parent: 1 });
    await posts.lose();
    box.removeLogged('s', conversation([...linear(3), question(4, 1, 'One')]));
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'Two', parent: 4 });
  });

  test('is the parent of a branch, whatever was typed before', async () => {
    const box = outbox();
    box.add('One', 's', conversation(linear(3)), { parent: 1 });
    box.add('Otherwise?', 's', conversation(linear(3)), { parent: 1, isBranch: true });
    await posts.accept(4);
    expect(posts.last.body).toStrictEqual({ text: 'Otherwise?', parent: 1 });
  });

  test('is the branch on which it was typed, even if a message for the newest turn is on its way', async () => {
    const box = outbox();
    box.add('One', 's', conversation(linear(3)));
    box.add('Two', 's', conversation(linear(3)), { parent: 1 });
    await posts.accept(4);
    expect(posts.last.body).toStrictEqual({ text: 'Two', parent: 1 });
  });

  test('is that of a message before it that was taken back', async () => {
    const box = outbox();
    const key = box.add('One', 's', conversation(linear(3)), { parent: 1 });
    box.add('Two', 's', conversation(linear(3)), { parent: 1 });
    await posts.refuse(413, 'text_too_long');
    box.takeBack(key);
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'Two', parent: 1 });
  });
});

describe('a message is kept', () => {
  test('until it is logged, not only until its 202', async () => {
    const box = outbox();
    box.add('One', 's', conversation());
    await posts.accept(2);
    box.removeLogged('s', conversation());
    expect(stored('me').map(({ text }) => text)).toStrictEqual(['One']);
    box.removeLogged('s', conversation([...linear(1), question(2, 1, 'One')]));
    expect(box.of('s')).toStrictEqual([]);
    expect(kept.size).toBe(0);
  });

  test('if another message with the same text is logged', async () => {
    const box = outbox();
    box.add('Question 1', 's', conversation());
    await taken();
    box.removeLogged('s', conversation());
    expect(states(box)).toStrictEqual([['Question 1', 'sending']]);
    await posts.accept(3);
    box.removeLogged('s', conversation([...linear(1), question(2, 1, 'Question 1')]));
    expect(states(box)).toStrictEqual([['Question 1', 'accepted']]);
  });

  test('no longer than until it is logged, even if its 202 was lost', async () => {
    const box = outbox();
    box.add('One', 's', conversation());
    await posts.lose();
    box.removeLogged('s', conversation([...linear(1), question(2, 1, 'One')]));
    expect(box.of('s')).toStrictEqual([]);
  });

  test('if it was not sent yet and another reader sends the same text', async () => {
    const box = outbox();
    box.add('Zero', 's', conversation());
    box.add('One', 's', conversation());
    await taken();
    box.removeLogged('s', conversation([...linear(1), question(2, 1, 'One')]));
    expect(states(box)).toStrictEqual([
      ['Zero', 'sending'],
      ['One', 'waiting'],
    ]);
  });

  test('if it is logged in another session', async () => {
    const box = outbox();
    box.add('One', 's', conversation());
    await posts.accept(2);
    box.removeLogged('other', conversation([...linear(1), question(2, 1, 'One')]));
    expect(states(box)).toStrictEqual([['One', 'accepted']]);
  });
});

describe('an accepted message that is neither queued nor logged', () => {
  async function accepted(): Promise<{ box: Outbox; key: string }> {
    const box = outbox();
    const key = box.add('One', 's', conversation());
    await posts.accept(2);
    return { box, key };
  }

  test('is sent again with its key', async () => {
    const { box, key } = await accepted();
    box.repeatUnknown('s', conversation());
    await taken();
    expect(posts.all.map((post) => post.key)).toStrictEqual([key, key]);
    await posts.accept(3);
    expect(box.of('s')[0]!.turn).toBe(3);
  });

  test('is not sent again if it is queued or logged', async () => {
    const { box, key } = await accepted();
    box.repeatUnknown('s', conversation(linear(1), [{ key, text: 'One' }]));
    box.repeatUnknown('s', conversation([...linear(1), question(2, 1, 'One')]));
    box.repeatUnknown('other', conversation());
    await taken();
    expect(posts.all).toHaveLength(1);
  });

  test('does not fail while the server is unreachable, since it is sent after each attach', async () => {
    const { box } = await accepted();
    box.repeatUnknown('s', conversation());
    await posts.refuse(503, 'store_unavailable');
    expect(states(box)).toStrictEqual([['One', 'accepted']]);
    box.repeatUnknown('s', conversation());
    await posts.accept(3);
    expect(states(box)).toStrictEqual([['One', 'accepted']]);
  });

  test('fails if the server refuses it', async () => {
    const { box } = await accepted();
    box.repeatUnknown('s', conversation());
    await posts.refuse(404, 'not_found');
    expect(states(box)).toStrictEqual([['One', 'failed']]);
  });

  test('begins its session again, once, if it began the one that is gone', async () => {
    const box = outbox();
    const key = box.add('One', null, fresh);
    await posts.accept(1, 's');
    expect(box.beginAgain('s')).toBe(true);
    await posts.accept(1, 's');
    expect(posts.all.map(({ path, key: sent }) => [path, sent])).toStrictEqual([
      ['/sessions', key],
      ['/sessions', key],
    ]);
    expect(box.beginAgain('s')).toBe(false);
  });

  test('begins no session if another message began it', async () => {
    const { box } = await accepted();
    expect(box.beginAgain('s')).toBe(false);
    await taken();
    expect(posts.all).toHaveLength(1);
  });
});

describe('a page that starts', () => {
  test('sends the message that the page before it was sending when it closed', async () => {
    outbox().add('One', 's', conversation());
    await taken();
    const after = outbox();
    await after.adopt('s');
    await taken();
    expect(posts.all.map(({ key }) => key)).toStrictEqual([posts.last.key, posts.last.key]);
  });

  test('calls no listener in its constructor', () => {
    outbox().add('One', 's', conversation());
    changes = 0;
    const after = outbox();
    expect(changes).toBe(0);
    expect(states(after)).toStrictEqual([['One', 'waiting']]);
  });

  test('ignores a stored value that is no outbox', () => {
    memory.set('outbox.me', { not: 'a list' });
    expect(outbox().of('s')).toStrictEqual([]);
  });
});

describe('the messages of another tab', () => {
  async function left(tab: string, ...texts: string[]): Promise<void> {
    const other = outbox(tab);
    for (const text of texts) other.add(text, 's', conversation());
    await posts.lose();
  }

  test('are adopted if that tab is gone', async () => {
    await left('gone', 'One', 'Two');
    const box = outbox();
    await box.adopt('s');
    expect(states(box)).toStrictEqual([
      ['One', 'failed'],
      ['Two', 'waiting'],
    ]);
    expect([...kept.keys()]).toStrictEqual(['outbox.me']);
  });

  test('are left alone if that tab lives', async () => {
    living.add('alive');
    await left('alive', 'One');
    const box = outbox();
    await box.adopt('s');
    expect(box.of('s')).toStrictEqual([]);
    expect(stored('alive')).toHaveLength(1);
  });

  test('are left alone if they belong to another session', async () => {
    await left('gone', 'One');
    const box = outbox();
    await box.adopt('other');
    expect(states(box)).toStrictEqual([]);
    await box.adopt('s');
    expect(states(box)).toStrictEqual([['One', 'failed']]);
  });

  test('are adopted without those of other sessions', async () => {
    const other = outbox('gone');
    other.add('One', 's', conversation());
    await posts.lose();
    other.add('Two', null, fresh);
    await posts.lose();
    const box = outbox();
    await box.adopt(null);
    expect(states(box, null)).toStrictEqual([['Two', 'failed']]);
    expect(stored('gone').map(({ text }) => text)).toStrictEqual(['One']);
  });

  test('are adopted by only one of two tabs', async () => {
    await left('gone', 'One');
    living.add('you');
    const [mine, yours] = [outbox('me'), outbox('you')];
    await Promise.all([mine.adopt('s'), yours.adopt('s'), mine.adopt('s')]);
    expect([...mine.of('s'), ...yours.of('s')]).toHaveLength(1);
  });

  test('are not adopted twice', async () => {
    const box = outbox();
    box.add('One', 's', conversation());
    await posts.lose();
    memory.set('outbox.gone', stored('me'));
    await box.adopt('s');
    expect(states(box)).toStrictEqual([['One', 'failed']]);
  });

  test('are sent even if their requests were open when it closed', async () => {
    outbox('gone').add('One', 's', conversation());
    await taken();
    const box = outbox();
    await box.adopt('s');
    await taken();
    expect(states(box)).toStrictEqual([['One', 'sending']]);
    expect(posts.all[1]!.key).toBe(posts.all[0]!.key);
  });
});

describe('a browser that cannot store', () => {
  test('is reported, and the page works', async () => {
    memory.isFull = true;
    const box = outbox();
    box.add('One', 's', conversation());
    expect(box.isKept).toBe(false);
    await posts.accept(2);
    expect(states(box)).toStrictEqual([['One', 'accepted']]);
    memory.isFull = false;
    box.add('Two', 's', conversation());
    expect(box.isKept).toBe(true);
  });
});

test('a message is known if the conversation has it in its log or queue', () => {
  const box = outbox();
  const key = box.add('One', 's', conversation());
  const [entry] = box.of('s') as [Unsent];
  expect(isKnown(entry, conversation())).toBe(false);
  expect(isKnown(entry, conversation(linear(1), [{ key, text: 'One' }]))).toBe(true);
  expect(isKnown({ ...entry, turn: 2 }, conversation([...linear(1), question(2, 1, 'One')]))).toBe(true);
});
