import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { WORDS, languageIn, languageOf } from '../../src/words/words';

describe('the language of the page', () => {
  test.each([
    [['zh-Hant-TW', 'en'], 'zh'],
    [['en-GB', 'zh'], 'en'],
    [['fr-CH', 'ZH-cn', 'en'], 'zh'],
  ] as const)('of %j is the first that it speaks', (wanted, spoken) => {
    expect(languageOf(wanted)).toBe(spoken);
  });

  test.each([[[]], [['fr', 'de-AT']], [['zhx', '']]])('of %j, none of which it speaks, is English', (wanted) => {
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
  ])('is set as Chinese: %s', (text) => {
    expect(languageIn(text)).toBe('zh');
  });

  test.each([
    '',
    'What does 溪流 mean in this sentence, and how is it read aloud?',
    '日本語の文章も漢字を使いますが、中国語ではありません。',
    '한국어 문장입니다.',
    '🐟🐟🐟',
    '1234567890',
  ])('is left alone: %j', (text) => {
    expect(languageIn(text)).toBeUndefined();
  });
});

const protocol = readFileSync(join(import.meta.dirname, '../../../docs/protocol.md'), 'utf8');

/** The codes in a table of the protocol: what stands in backquotes in its cells of that column. */
function codesOf(header: string, column: number): string[] {
  const [, table] = protocol.split(`${header}\n`);
  const rows = table!.split('\n').slice(1);
  const end = rows.findIndex((row) => !row.startsWith('|'));
  return rows
    .slice(0, end)
    .flatMap((row) => [...row.split('|')[column]!.matchAll(/`(\w+)`/g)].map(([, code]) => code!));
}

/** Refused is what this page never sends, whatever a person does; should it, the server's own words say more than ours. */
const NEVER_OF_THIS_PAGE = [
  'invalid_json',
  'invalid_idempotency_key',
  'missing_param',
  'method_not_allowed',
  'not_acceptable',
  'unsupported_media_type',
];
/** Told in the server's own words, which quote what the model's provider said of this very request. */
const QUOTED = ['model_refused_request'];

describe.each(Object.entries(WORDS))('in %s', (_, words) => {
  test('every refusal of the protocol that a person can meet has its sentence', () => {
    const codes = codesOf('| status | code | when |', 2);
    expect(codes).toContain('queue_full');
    expect(codes).toEqual(expect.arrayContaining(NEVER_OF_THIS_PAGE));
    const missing = codes.filter((code) => !(code in words.refusals) && !NEVER_OF_THIS_PAGE.includes(code));
    expect(missing).toStrictEqual([]);
    for (const code of ['unreachable', 'slow', 'broken']) expect(words.refusals).toHaveProperty(code);
  });

  test('and so has every failure of an answer', () => {
    const codes = codesOf('| `error.code` | retryable | when |', 1);
    expect(codes).toContain('model_truncated');
    expect(codes).toEqual(expect.arrayContaining(QUOTED));
    expect(codes.filter((code) => !(code in words.failures) && !QUOTED.includes(code))).toStrictEqual([]);
  });

  test('no sentence is of a code that is none', () => {
    const codes = new Set([...codesOf('| status | code | when |', 2), 'unreachable', 'slow', 'broken']);
    expect(Object.keys(words.refusals).filter((code) => !codes.has(code))).toStrictEqual([]);
    const failures = codesOf('| `error.code` | retryable | when |', 1);
    expect(Object.keys(words.failures).filter((code) => !failures.includes(code))).toStrictEqual([]);
  });

  test('nothing is left unsaid', () => {
    const values = (value: unknown): unknown[] =>
      typeof value === 'object' && value !== null ? Object.values(value).flatMap(values) : [value];
    const sentences = values(words).filter((value) => typeof value === 'string');
    expect(sentences.filter((sentence) => sentence.trim() === '')).toStrictEqual([]);
  });
});

test('the languages have sentences for the same codes', () => {
  const codes = Object.values(WORDS).map(({ refusals, failures }) => [
    Object.keys(refusals).sort(),
    Object.keys(failures).sort(),
  ]);
  for (const other of codes) expect(other).toStrictEqual(codes[0]);
});
