import { beforeEach, describe, expect, test } from 'vitest';

import { type Unsent, isKnown } from '../../../src/storage/outbox';
import { linear, question } from '../../support/entries';
import { conversation, kept, memory, outbox, posts, prepareOutboxes, states, stored } from '../../support/outboxes';
import { taken } from '../../support/posts';

let changes: number;

beforeEach(() => {
  changes = 0;
  prepareOutboxes({ changed: () => void (changes += 1) });
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
