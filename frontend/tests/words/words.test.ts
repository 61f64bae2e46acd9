import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { WORDS, languageIn, languageOf } from '../../src/words/words';

describe('the language of the page', () => {
  test.each([
    [['zh-Hant-TW', 'en'], 'zh'],
    [['en-GB', 'zh'], 'en'],
    [['fr-CH', 'ZH-cn', 'en'], 'zh'],
  ] as const)('of %j is the first that it has', (wanted, spoken) => {
    expect(languageOf(wanted)).toBe(spoken);
  });

  test.each([[[]], [['fr', 'de-AT']], [['zhx', '']]])('is English for %j, none of which it has', (wanted) => {
    expect(languageOf(wanted)).toBe('en');
  });
});

describe('a text', () => {
  test.each([
    '读者断线之后重新连接。',
    '用 Python 写一个 asyncio 的例子，好吗？',
    '讀者斷線之後重新連接。',
    '请问“优の良品”是哪里的牌子？我在超市里看到过。',
    `${'读者断线之后重新连接。'.repeat(40)} and much English after that ${'word '.repeat(400)}`,
  ])('is marked as Chinese: %s', (text) => {
    expect(languageIn(text)).toBe('zh');
  });

  test.each([
    '',
    'What does 溪流 mean in this sentence, and how is it read aloud?',
    '日本語の文章も漢字を使いますが、中国語ではありません。',
    '한국어 문장입니다.',
    '🐟🐟🐟',
    '1234567890',
  ])('is not marked: %j', (text) => {
    expect(languageIn(text)).toBeUndefined();
  });
});

const protocol = readFileSync(join(import.meta.dirname, '../../../docs/protocol.md'), 'utf8');

/** The codes in a table of the protocol: the texts in backquotes in one column. */
function codesOf(header: string, column: number): string[] {
  const [, table] = protocol.split(`${header}\n`);
  const rows = table!.split('\n').slice(1);
  const end = rows.findIndex((row) => !row.startsWith('|'));
  return rows
    .slice(0, end)
    .flatMap((row) => [...row.split('|')[column]!.matchAll(/`(\w+)`/g)].map(([, code]) => code!));
}

/**
 * Refusals of requests that this page never sends. If it ever does, the server's message tells more than a text of
 * ours.
 */
const NEVER_OF_THIS_PAGE = [
  'invalid_json',
  'invalid_idempotency_key',
  'missing_param',
  'method_not_allowed',
  'not_acceptable',
  'unsupported_media_type',
];
/** Shown with the server's message, which quotes the model's provider. */
const QUOTED = ['model_refused_request'];

describe.each(Object.entries(WORDS))('in %s', (_, words) => {
  test('each refusal that a reader can meet has a text', () => {
    const codes = codesOf('| status | code | when |', 2);
    expect(codes).toContain('queue_full');
    expect(codes).toEqual(expect.arrayContaining(NEVER_OF_THIS_PAGE));
    const missing = codes.filter((code) => !(code in words.refusals) && !NEVER_OF_THIS_PAGE.includes(code));
    expect(missing).toStrictEqual([]);
    for (const code of ['unreachable', 'slow', 'broken']) expect(words.refusals).toHaveProperty(code);
  });

  test('each failure of an answer has a text', () => {
    const codes = codesOf('| `error.code` | retryable | when |', 1);
    expect(codes).toContain('model_truncated');
    expect(codes).toEqual(expect.arrayContaining(QUOTED));
    expect(codes.filter((code) => !(code in words.failures) && !QUOTED.includes(code))).toStrictEqual([]);
  });

  test('each text belongs to a code of the protocol', () => {
    const codes = new Set([...codesOf('| status | code | when |', 2), 'unreachable', 'slow', 'broken']);
    expect(Object.keys(words.refusals).filter((code) => !codes.has(code))).toStrictEqual([]);
    const failures = codesOf('| `error.code` | retryable | when |', 1);
    expect(Object.keys(words.failures).filter((code) => !failures.includes(code))).toStrictEqual([]);
  });

  test('no text is empty', () => {
    const values = (value: unknown): unknown[] =>
      typeof value === 'object' && value !== null ? Object.values(value).flatMap(values) : [value];
    const sentences = values(words).filter((value) => typeof value === 'string');
    expect(sentences.filter((sentence) => sentence.trim() === '')).toStrictEqual([]);
  });
});

test('all languages have texts for the same codes', () => {
  const codes = Object.values(WORDS).map(({ refusals, failures }) => [
    Object.keys(refusals).sort(),
    Object.keys(failures).sort(),
  ]);
  for (const other of codes) expect(other).toStrictEqual(codes[0]);
});
