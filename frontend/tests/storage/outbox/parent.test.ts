import { beforeEach, describe, expect, test } from 'vitest';

import { linear, question } from '../../support/entries';
import { conversation, outbox, posts, prepareOutboxes } from '../../support/outboxes';
import { taken } from '../../support/posts';

beforeEach(() => prepareOutboxes());

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
