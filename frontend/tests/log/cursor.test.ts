import { describe, expect, test } from 'vitest';

import { parts, relation } from '../../src/log/cursor';

describe('the ids show a reader what an event is (docs/protocol.md 1.2)', () => {
  test.each([
    [null, '3.2-17', 'next'],
    ['0.0-0', '1.0-0', 'next'],
    ['1.0-0', '1.1-1', 'next'],
    ['1.1-4', '1.1-5', 'next'],
    ['1.1-4', '1.2-5', 'next'],
    ['1.1-9', '1.1-10', 'next'],
    ['1.2-5', '2.0-0', 'next'],
    ['9.1-4', '10.0-0', 'next'],
    ['1.1-4', '1.1-4', 'seen'],
    ['1.1-4', '1.1-3', 'seen'],
    ['2.0-0', '1.1-7', 'seen'],
    ['10.0-0', '9.1-7', 'seen'],
    ['1.2-5', '1.1-3', 'seen'],
    ['1.1-4', '1.1-6', 'gap'],
    ['1.1-4', '1.2-4', 'gap'],
    ['1.2-4', '1.1-5', 'gap'],
    ['1.1-4', '2.1-1', 'gap'],
    ['1.1-4', '3.0-0', 'gap'],
    ['1.1-4', 'nonsense', 'gap'],
    ['1.1-4', null, 'gap'],
  ] as const)('to a reader at %s, %s is %s', (cursor, id, expected) => {
    expect(relation(cursor, id)).toBe(expected);
  });

  test.each([['1.1'], ['1-1'], ['1.1-1 '], ['x1.1-1'], ['1.1-1.1'], ['-1.1-1'], ['']])('%j is not an id', (id) => {
    expect(parts(id)).toBeNull();
  });
});
