import { describe, expect, test } from 'vitest';

import { chunksOf } from '../../src/answer/markdown/codeChunks';
import { Colouring } from '../../src/answer/colouring';
import { highlight } from '../../src/answer/highlighter';
import { fence } from './markdown/corpus';

function coloured(language: string, code: string): Colouring {
  const chunks = chunksOf(code);
  const colouring = new Colouring(language, highlight);
  while (colouring.behind(chunks.length)) colouring.step(chunks, colouring.taken === chunks.length - 1);
  return colouring;
}

describe('colours', () => {
  test('do not change the code', () => {
    const code = fence(20_000);
    const { done } = coloured('ts', code);
    expect(done.map((runs) => runs?.map((run) => run.text).join('') ?? '')).toEqual(chunksOf(code));
  });

  test('continue a comment that began in the chunk before', () => {
    const code = `/*\n${'not code\n'.repeat(100)}*/\nconst a = 1;\n`;
    const { done } = coloured('js', code);
    expect(done[1]).toEqual([{ text: 'not code\n'.repeat(40), colour: 'comment' }]);
    expect(done.at(-1)?.map((run) => run.colour)).toContain('keyword');
  });

  test('do not wait for the end of a very long comment', () => {
    const chunks = chunksOf(`/*\n${`${'x'.repeat(100)}\n`.repeat(1_000)}`);
    const colouring = new Colouring('js', highlight);
    for (let i = 0; i < 5; i += 1) colouring.step(chunks, false);
    expect(colouring.done.length).toBeGreaterThan(2);
  });

  test('are not tried for an unknown language', () => {
    const colouring = coloured('nonsense', 'a\n'.repeat(100));
    expect(colouring.done).toEqual([]);
    expect(colouring.behind(3)).toBe(false);
  });
});
