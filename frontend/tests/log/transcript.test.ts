import { describe, expect, test } from 'vitest';

import { path } from '../../src/log/branches';
import { fileName, markdown } from '../../src/log/transcript';
import { linear, question, turn } from '../support/entries';

const LABELS = { you: 'You', assistant: 'Answer' };

describe('a conversation as Markdown', () => {
  test('has the title and each message', () => {
    expect(markdown('Streams', path(linear(2), {}), LABELS)).toBe(
      '# Streams\n\n## You\n\nQuestion 1\n\n## Answer\n\nAnswer 1\n\n## You\n\nQuestion 2\n\n## Answer\n\nAnswer 2\n',
    );
  });

  test('has the shown branch only', () => {
    const messages = [...linear(2), ...turn(3, 1, 'Otherwise?')];
    expect(markdown('', path(messages, { 1: 2 }), LABELS)).not.toContain('Otherwise?');
  });

  test('may end with a question, and has the labels of the given language', () => {
    expect(markdown('溪流', path([question(1, 0, '为什么？')], {}), { you: '你', assistant: '回答' })).toBe(
      '# 溪流\n\n## 你\n\n为什么？\n',
    );
  });

  test('has a title on one line', () => {
    expect(markdown('One\n## Two\r\n\tThree', [], LABELS)).toBe('# One ## Two Three\n');
  });
});

describe('its file name', () => {
  test.each([
    ['Streams', 'Streams.md'],
    ['溪流与河', '溪流与河.md'],
    ['A 🐟 in the stream', 'A 🐟 in the stream.md'],
    ['One\u0000\u001b\n\u202eTwo', 'One Two.md'],
    ['a/b\\c:d*e?f"g<h>i|j', 'a b c d e f g h i j.md'],
    ['../../etc/passwd', 'etc passwd.md'],
    ['.hidden.', 'hidden.md'],
    ['. . .', 'midsentence.md'],
    ['', 'midsentence.md'],
    ['???', 'midsentence.md'],
    ['  too   many\t\tspaces ', 'too many spaces.md'],
  ])('of %j is %j', (title, expected) => {
    expect(fileName(title)).toBe(expected);
  });

  test('is cut between characters, to the bytes that a file system allows', () => {
    const long = fileName('🐟'.repeat(300));
    expect(long).toMatch(/^(🐟)+\.md$/u);
    expect(new TextEncoder().encode(long).length).toBeLessThanOrEqual(255);
    expect(fileName('溪'.repeat(300)).length).toBeGreaterThan(40);
  });

  test('does not end in a space or a dot after the cut', () => {
    for (const end of ['. tail', ' . tail', '... tail']) {
      expect(fileName(`${'x'.repeat(58)}${end}`)).toMatch(/^x{58}\.md$/);
    }
  });
});
