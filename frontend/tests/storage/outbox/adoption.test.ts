import { beforeEach, describe, expect, test } from 'vitest';

import { fresh } from '../../../src/log/conversation';
import {
  conversation,
  kept,
  living,
  memory,
  outbox,
  posts,
  prepareOutboxes,
  states,
  stored,
} from '../../support/outboxes';
import { taken } from '../../support/posts';

beforeEach(() => prepareOutboxes());

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
