import { beforeEach, describe, expect, test } from 'vitest';

import { fresh } from '../../../src/log/conversation';
import type { Outbox, Receipt } from '../../../src/storage/outbox';
import { linear, question } from '../../support/entries';
import { conversation, outbox, posts, prepareOutboxes, states } from '../../support/outboxes';
import { taken } from '../../support/posts';

let receipts: Receipt[];
let failures: string[];

beforeEach(() => {
  receipts = [];
  failures = [];
  prepareOutboxes({
    accepted: (receipt) => void receipts.push(receipt),
    failed: ({ code }) => void failures.push(code),
  });
});

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

describe('a message with a model', () => {
  test('waits with the model, also over a reload', async () => {
    outbox().add('One', 's', conversation(), { model: 'beta' });
    await posts.lose();
    outbox().retryPassing();
    await taken();
    expect(posts.all.map(({ body }) => body)).toStrictEqual([
      { text: 'One', model: 'beta' },
      { text: 'One', model: 'beta' },
    ]);
  });

  test.each([['gamma'], [undefined]])('that is not offered any more is sent again with %s', async (model) => {
    const box = outbox();
    const key = box.add('One', 's', conversation(), { parent: 0, model: 'beta' });
    box.add('Two', 's', conversation());
    await posts.refuse(422, 'unknown_model');
    expect([box.of('s')[0]!.why?.code, failures]).toStrictEqual(['unknown_model', ['unknown_model']]);
    expect(states(box)[0]).toStrictEqual(['One', 'failed']);
    box.retry(key, model);
    await posts.accept(2);
    await posts.accept(3);
    expect(posts.all.slice(1).map(({ body }) => body)).toStrictEqual([
      { text: 'One', parent: 0, ...(model !== undefined && { model }) },
      { text: 'Two' },
    ]);
  });

  test('that failed for another reason keeps its model', async () => {
    const box = outbox();
    const key = box.add('One', 's', conversation(), { model: 'beta' });
    await posts.refuse(429, 'queue_full');
    box.retry(key, 'gamma');
    await taken();
    expect(posts.last.body).toStrictEqual({ text: 'One', model: 'beta' });
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
