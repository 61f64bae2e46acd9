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

describe('an answer that nobody here has seen', () => {
  test('is news', () => {
    markSeen('s', 'idle', 1);
    expect(news(listed('s', 2), listed('t', 1))).toStrictEqual(['s']);
  });

  test('is none any more once it is seen, and never again', () => {
    markSeen('s', 'idle', 1);
    markSeen('s', 'idle', 2);
    expect(news(listed('s', 2))).toStrictEqual([]);
    markSeen('s', 'idle', 1);
    expect(news(listed('s', 2))).toStrictEqual([]);
  });

  test.each(['streaming', 'queued'] as const)('is none before it has ended (%s)', (state) => {
    markSeen('s', 'idle', 1);
    expect(news(listed('s', 2, state))).toStrictEqual([]);
    expect(news(listed('s', 2))).toStrictEqual(['s']);
  });

  test('was not seen to its end by whoever left in the middle', () => {
    markSeen('s', 'streaming', 2);
    expect(news(listed('s', 2))).toStrictEqual(['s']);
  });

  test('is none in a session that this browser meets for the first time, but what comes after it is', () => {
    expect(news(listed('s', 3))).toStrictEqual([]);
    expect(news(listed('s', 4))).toStrictEqual(['s']);
  });

  test('is one also where the session was met before its first answer', () => {
    expect(news(listed('s', 1, 'queued'))).toStrictEqual([]);
    expect(news(listed('s', 1))).toStrictEqual(['s']);
  });
});

test('sessions that are listed no more are forgotten, since storage is small', () => {
  markSeen('old', 'idle', 1);
  news(listed('new', 1));
  expect(sharedStore.get('seen')).toStrictEqual({ new: 1 });
});

test('what is no record of this page is as nothing', () => {
  sharedStore.set('seen', 'nonsense');
  expect(news(listed('s', 1))).toStrictEqual([]);
  markSeen('s', 'idle', 2);
  expect(news(listed('s', 3))).toStrictEqual(['s']);
});
