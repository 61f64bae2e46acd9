import { describe, expect, test } from 'vitest';

import { cutAt, withoutHalf } from '../../src/answer/markdown/textSplitting';
import { Typewriter } from '../../src/answer/typewriter';
import { Chance, SEED } from '../support/chance';

describe('the typewriter', () => {
  test('shows each character within 250 ms, even if frames are late', () => {
    const chance = new Chance(SEED);
    const late: string[] = [];
    for (let round = 0; round < 200; round += 1) {
      const typewriter = new Typewriter(0);
      const arrivals: { length: number; at: number }[] = [];
      let length = 0;
      let now = 0;
      let frame = 16;
      for (let i = 0; i < 300; i += 1) {
        if (chance.next() < 0.3) {
          length += chance.below(chance.next() < 0.1 ? 2_000 : 40);
          const at = now - chance.next() * frame;
          typewriter.arrive(length, at, true);
          arrivals.push({ length, at });
        }
        typewriter.show(typewriter.next(now, frame));
        const first = arrivals.find((arrival) => now - arrival.at > 250 && arrival.length > typewriter.shown);
        if (first !== undefined) late.push(`${first.length} of ${first.at} ms is not shown at ${now} ms`);
        frame = 16 + chance.below(30);
        now += frame;
      }
    }
    expect(late, `SEED=${SEED}`).toStrictEqual([]);
  });

  test('spreads a burst over several frames', () => {
    const typewriter = new Typewriter(0);
    typewriter.arrive(1_000, 0, true);
    const steps: number[] = [];
    for (let now = 0; now <= 250; now += 16) {
      const before = typewriter.shown;
      typewriter.show(typewriter.next(now, 16));
      if (typewriter.shown > before) steps.push(typewriter.shown - before);
    }
    expect(typewriter.shown).toBe(1_000);
    expect(steps.length).toBeGreaterThan(8);
    expect(Math.max(...steps)).toBeLessThan(200);
  });

  test('shows text at once that is not smooth', () => {
    const typewriter = new Typewriter(0);
    typewriter.arrive(1_000, 0, true);
    typewriter.arrive(1_000, 1, false);
    expect(typewriter.next(1, 16)).toBe(1_000);
  });
});

describe('a cut', () => {
  const signs = ['a', 'é', 'e\u0301', '👩‍👩‍👧‍👦', '🇩🇪', '👍🏽', '中', '한', 'नि', '🏴󠁧󠁢󠁥󠁮󠁧󠁿', ' ', '\n', '𝒳'];

  test('never falls inside a grapheme', () => {
    const chance = new Chance(SEED + 1);
    const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
    for (let round = 0; round < 300; round += 1) {
      let text = '';
      for (let i = 0; i < 60; i += 1) text += chance.of(signs);
      const ends = new Set([0, ...Array.from(segmenter.segment(text), ({ index, segment }) => index + segment.length)]);
      for (let shown = 0; shown < text.length;) {
        const next = cutAt(text, shown, shown + 1 + chance.below(5));
        expect(ends.has(next), `SEED=${SEED} ${JSON.stringify(text)} at ${next}`).toBe(true);
        expect(next).toBeGreaterThan(shown);
        shown = next;
      }
    }
  });

  test('leaves half a surrogate pair for later', () => {
    expect(withoutHalf('a\uD83D')).toBe('a');
    expect(withoutHalf('a😀')).toBe('a😀');
  });
});
