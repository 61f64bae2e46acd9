import { beforeEach, describe, expect, test } from 'vitest';

import { markSeen, unread } from '../../src/storage/seen';
import { sharedStore } from '../../src/storage/webStorage';
import type { Listed } from '../../src/transport/api';

beforeEach(() => {
  localStorage.clear();
});

function listed(session: string, turn: number, state: Listed['state'] = 'idle'): Listed {
  return { session_id: session, title: '', state, turn, updated: 0 };
}

const news = (...sessions: Listed[]) => [...unread(sessions)];

describe('an unseen answer', () => {
  test('is unread', () => {
    markSeen('s', 'idle', 1);
    expect(news(listed('s', 2), listed('t', 1))).toStrictEqual(['s']);
  });

  test('is not unread any more after it was seen', () => {
    markSeen('s', 'idle', 1);
    markSeen('s', 'idle', 2);
    expect(news(listed('s', 2))).toStrictEqual([]);
    markSeen('s', 'idle', 1);
    expect(news(listed('s', 2))).toStrictEqual([]);
  });

  test.each(['streaming', 'queued'] as const)('is not unread before it has ended (%s)', (state) => {
    markSeen('s', 'idle', 1);
    expect(news(listed('s', 2, state))).toStrictEqual([]);
    expect(news(listed('s', 2))).toStrictEqual(['s']);
  });

  test('is unread if the reader left before its end', () => {
    markSeen('s', 'streaming', 2);
    expect(news(listed('s', 2))).toStrictEqual(['s']);
  });

  test('is not unread in a session that is new to this browser, but the next one is', () => {
    expect(news(listed('s', 3))).toStrictEqual([]);
    expect(news(listed('s', 4))).toStrictEqual(['s']);
  });

  test('is unread if the session was listed before its first answer', () => {
    expect(news(listed('s', 1, 'queued'))).toStrictEqual([]);
    expect(news(listed('s', 1))).toStrictEqual(['s']);
  });
});

test('sessions that are not listed any more are removed from storage', () => {
  markSeen('old', 'idle', 1);
  news(listed('new', 1));
  expect(sharedStore.get('seen')).toStrictEqual({ new: 1 });
});

test('an invalid stored value is ignored', () => {
  sharedStore.set('seen', 'nonsense');
  expect(news(listed('s', 1))).toStrictEqual([]);
  markSeen('s', 'idle', 2);
  expect(news(listed('s', 3))).toStrictEqual(['s']);
});
