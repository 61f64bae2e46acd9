import { options, render } from 'preact';
import { beforeEach, describe, expect, test, vi } from 'vitest';

import { CORPUS, cuts, list, mixed, paragraph, table } from './markdown/corpus';
import { answer, host, pass, prepareAnswers, show, stream } from '../support/answers';
import { Chance, SEED } from '../support/chance';

let hidden = false;
let still = false;

beforeEach(async () => {
  await prepareAnswers();
  hidden = false;
  still = false;
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  vi.spyOn(window, 'matchMedia').mockImplementation(() => ({ matches: still }) as MediaQueryList);
});

describe('an answer', () => {
  test('that was there at the start is not typed again', () => {
    show({ text: 'Hello **you**', open: true });
    expect(answer().textContent).toBe('Hello you');
    expect(answer().dir).toBe('auto');
  });

  test('is typed as it arrives, and shown in full within 250 ms', async () => {
    show({ text: '', open: true });
    const text = 'word '.repeat(100);
    show({ text, open: true });
    await pass(34);
    const soon = answer().textContent.length;
    expect(soon).toBeGreaterThan(0);
    expect(soon).toBeLessThan(text.length / 2);
    await pass(250 - 34);
    expect(answer().textContent.trim()).toBe(text.trim());
  });

  test('never ends with half a grapheme', async () => {
    const signs = ['a', '👩‍👩‍👧‍👦', '🇩🇪', 'e\u0301', '👍🏽', '中'];
    const text = Array.from({ length: 300 }, (_, i) => signs[i % signs.length]).join('');
    const ends = new Set(
      Array.from(new Intl.Segmenter().segment(text), ({ index, segment }) => index + segment.length),
    );
    show({ text: '', open: true });
    show({ text, open: true });
    for (let frame = 0; frame < 15; frame += 1) {
      await pass(16);
      const length = answer().textContent.length;
      expect(length === 0 || ends.has(length)).toBe(true);
    }
    expect(answer().textContent).toBe(text);
    show({ text: `${text}\uD83D`, open: true });
    await pass(300);
    expect(answer().textContent).toBe(text);
    show({ text: `${text}\uD83D\uDE00`, open: true });
    await pass(300);
    expect(answer().textContent).toBe(`${text}😀`);
  });

  test('that ends is complete within 250 ms', async () => {
    show({ text: '', open: true });
    show({ text: '[late][l] '.repeat(30) + '\n\n[l]: https://late.example', open: false });
    await pass(250);
    expect(answer().querySelectorAll('a').length).toBe(30);
  });

  test.each([
    [
      'who prefers reduced motion',
      () => {
        still = true;
      },
      true,
    ],
    ['who turned smoothing off', () => undefined, false],
  ])('is not typed for a reader %s', async (_, arrange, smooth) => {
    arrange();
    show({ text: '', open: true, smooth });
    show({ text: 'word '.repeat(100), open: true, smooth });
    await pass(17);
    expect(answer().textContent.length).toBeGreaterThan(490);
  });

  test('is shown at once to a reader who returns to the tab', async () => {
    show({ text: '', open: true });
    hidden = true;
    vi.stubGlobal('requestAnimationFrame', () => 1);
    show({ text: 'word '.repeat(100), open: true });
    await pass(2_000);
    expect(answer().textContent).toBe('');
    vi.unstubAllGlobals();
  });

  test('shows all text when the tab becomes visible again', async () => {
    show({ text: '', open: true });
    await pass(50);
    show({ text: 'word '.repeat(100), open: true });
    document.dispatchEvent(new Event('visibilitychange'));
    await pass(17);
    expect(answer().textContent.length).toBeGreaterThan(490);
  });

  test('is drawn from the start if the text is no extension', async () => {
    await stream('# One\n\n- a\n- b\n\nmore', [5, 12, 20]);
    show({ text: '', open: true });
    await pass(17);
    expect(answer().textContent).toBe('');
    show({ text: 'Other', open: true });
    await pass(250);
    expect(answer().innerHTML).toBe('<div class="blocks"><p>Other</p></div>');
  });

  test('calls `onPaint` after each paint', async () => {
    const lengths: number[] = [];
    await stream('one two three four', [3, 7, 13, 18], { onPaint: () => lengths.push(host.textContent.length) });
    expect(lengths).toEqual(
      [0, 3, 7, 13, 18, 18].filter((length, i, all) => i < all.length - 1 || length === 18).slice(0, lengths.length),
    );
    expect(lengths.at(-1)).toBe(18);
  });

  test('longer than one paint draws is complete after a few', async () => {
    const text = mixed(60_000);
    show({ text, open: false });
    expect(answer().textContent.length).toBeLessThan(20_000);
    await pass(1_000);
    const whole = answer().textContent;
    show({ text: '', open: true });
    await stream(text, cuts(text, new Chance(SEED), 4_000));
    expect(answer().textContent).toBe(whole);
  });
});

describe('a streamed answer', () => {
  for (const [name, text] of Object.entries(CORPUS)) {
    test(`(${name}) ends with the elements of the same answer shown at once`, async () => {
      await stream(text, cuts(text, new Chance(SEED), 200));
      const streamed = answer().innerHTML;
      render(null, host);
      show({ text, open: false });
      await pass(1_000);
      expect(streamed, `SEED=${SEED}`).toBe(answer().innerHTML);
    });
  }

  /** How many components each paint of a growing text draws. */
  async function drawing(text: string): Promise<number[]> {
    let drawn = 0;
    // Preact's hooks use this option, too, so the function that was there is still called.
    const before = { ...options };
    options.diffed = (vnode) => {
      drawn += 1;
      before.diffed?.(vnode);
    };
    const costs: number[] = [];
    show({ text: '', open: true, smooth: false });
    for (let at = 0; at < text.length; at += 100) {
      show({ text: text.slice(0, at), open: true, smooth: false });
      drawn = 0;
      await pass(17);
      costs.push(drawn);
    }
    Object.assign(options, before);
    return costs;
  }

  test('draws the blocks before the growing one once', async () => {
    expect(
      Math.max(...(await drawing('A *short* paragraph `of` **many** [parts](https://a.example).\n\n'.repeat(30)))),
    ).toBeLessThan(110);
  });

  for (const [name, make] of Object.entries({ list, table, paragraph, mixed })) {
    test(`(${name}) draws only its end again`, async () => {
      const costs = await drawing(make(24_000));
      // A paragraph's parts have 8,000 characters; everything else is committed sooner.
      expect(Math.max(...costs.slice(-80))).toBeLessThan(Math.max(...costs.slice(0, 140)) * 1.2);
    });
  }

  test('never changes committed nodes', async () => {
    const text = list(12_000);
    show({ text: '', open: true, smooth: false });
    for (let at = 0; at < 6_000; at += 50) {
      show({ text: text.slice(0, at), open: true, smooth: false });
      await pass(17);
    }
    const items = [...answer().querySelectorAll('li')].slice(0, 40);
    const changes: MutationRecord[] = [];
    const observer = new MutationObserver((records) => changes.push(...records));
    for (const item of items) {
      observer.observe(item, { childList: true, characterData: true, attributes: true, subtree: true });
    }
    for (let at = 6_000; at < text.length; at += 50) {
      show({ text: text.slice(0, at), open: true, smooth: false });
      await pass(17);
    }
    show({ text, open: false, smooth: false });
    await pass(1_000);
    observer.disconnect();
    expect(changes).toEqual([]);
    expect([...answer().querySelectorAll('li')].slice(0, 40).every((item, i) => item === items[i])).toBe(true);
  });

  test('keeps a selection that ends in its growing text', async () => {
    const text = paragraph(6_000);
    show({ text: text.slice(0, 30), open: true, smooth: false });
    const node = document.createTreeWalker(answer(), NodeFilter.SHOW_TEXT).nextNode() as Text;
    const before = node.data;
    const append = vi.spyOn(node, 'appendData');
    const range = document.createRange();
    range.setStart(node, 2);
    range.setEnd(node, 20);
    const selected = range.toString();
    for (let at = 40; at < 4_000; at += 30) {
      show({ text: text.slice(0, at), open: true, smooth: false });
      await pass(17);
    }
    expect(append).toHaveBeenCalled();
    expect(node.isConnected && node.data.startsWith(before)).toBe(true);
    expect(range.toString()).toBe(selected);
  });
});
