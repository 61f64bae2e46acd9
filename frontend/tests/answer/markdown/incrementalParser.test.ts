import { describe, expect, test } from 'vitest';

import { costs } from '../../../src/answer/markdown/costCounters';
import { normalise } from '../../../src/answer/markdown/parser';
import { IncrementalParser } from '../../../src/answer/markdown/incrementalParser';
import type { Node } from '../../../src/answer/markdown/syntaxTree';
import { CORPUS, cuts, fence, list, mixed, paragraph, table } from './corpus';
import { Chance, SEED } from '../../support/chance';

/** The tree with neighbouring texts joined: how text is split into nodes does not matter. */
function plain(nodes: readonly Node[]): unknown[] {
  const out: unknown[] = [];
  for (const node of nodes) {
    const last = out.at(-1) as { text?: string; kind?: string } | undefined;
    if (node.kind === 'text' && last?.kind === 'text') {
      out[out.length - 1] = { kind: 'text', text: `${last.text}${node.text}` };
    } else if (node.kind === 'element' || node.kind === 'link') out.push({ ...node, children: plain(node.children) });
    else if (node.kind === 'fence') out.push({ ...node, chunks: node.chunks.join(''), open: false });
    else out.push(node);
  }
  return out;
}

describe('a text that is streamed in chunks of any size', () => {
  for (const [name, text] of Object.entries(CORPUS)) {
    test(`${name} ends with the tree of the same text parsed at once`, () => {
      for (const longest of [3, 40, 700]) {
        const parser = new IncrementalParser();
        const chance = new Chance(SEED + longest);
        for (const at of cuts(text, chance, longest)) parser.grow(normalise(text.slice(0, at)));
        const whole = normalise(text);
        expect(plain(parser.finish(whole)), `SEED=${SEED}`).toEqual(plain(new IncrementalParser().finish(whole)));
      }
    });
  }

  // Late definitions and unclosed marks are the two things that only the end can decide.
  for (const [name, text] of Object.entries(CORPUS).filter(
    ([key]) => !['definitions', 'unclosed', 'math'].includes(key),
  )) {
    test(`${name} has the right tree even before the end`, () => {
      for (const longest of [3, 40, 700]) {
        const parser = new IncrementalParser();
        const chance = new Chance(SEED + longest);
        let nodes: readonly Node[] = [];
        for (const at of cuts(text, chance, longest)) nodes = parser.grow(normalise(text.slice(0, at)));
        expect(plain(nodes), `SEED=${SEED}`).toEqual(plain(new IncrementalParser().finish(normalise(text))));
      }
    });
  }
});

test('a half-typed definition does not stay', () => {
  const text = `[a]: https://a.example/whole/path\n\nsee [a]`;
  const parser = new IncrementalParser();
  for (let at = 1; at < text.length; at += 1) parser.grow(text.slice(0, at));
  expect(JSON.stringify(parser.grow(text))).toContain('"href":"https://a.example/whole/path"');
});

test('attempts to commit a block without parts are rare', () => {
  const text = '> quoted words\n'.repeat(1_500);
  const parser = new IncrementalParser();
  const before = costs.characters;
  let tails = 0;
  for (let at = 0; at < text.length; at += 64) {
    parser.grow(text.slice(0, at));
    tails += at;
  }
  expect(costs.characters - before).toBeLessThan(tails * 1.05);
});

describe('the work of parsing and comparing is linear for', () => {
  for (const [name, make] of Object.entries({ list, table, fence, paragraph, mixed })) {
    test(`a ${name}`, () => {
      const costOf = (length: number): [number, number] => {
        const text = make(length);
        const parser = new IncrementalParser();
        const before = { ...costs };
        for (let at = 0; at < text.length; at += 64) parser.grow(text.slice(0, at));
        parser.grow(text);
        parser.finish(text);
        return [
          (costs.characters - before.characters) / text.length,
          (costs.comparisons - before.comparisons) / text.length,
        ];
      };
      const short = costOf(20_000);
      const long = costOf(80_000);
      expect(long[0]).toBeLessThan(25);
      expect(long[0]).toBeLessThan(short[0] * 1.3);
      expect(long[1]).toBeLessThan(2);
      expect(long[1]).toBeLessThan(short[1] * 1.3);
    });
  }
});
