import { options, render } from 'preact';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';

import { Answer } from '../../src/answer/Answer';
import { CORPUS, cuts, list, mixed, paragraph, table } from './markdown/corpus';
import { Chance, SEED } from '../support/chance';

vi.mock('../../src/answer/katex', () => ({
  render: (source: string, node: HTMLElement) => {
    node.textContent = `⟨${source}⟩`;
  },
}));

let host: HTMLElement;
let hidden = false;
let still = false;

// A lazy import takes real time in a test, since each module is compiled.
beforeAll(async () => {
  await import('../../src/answer/highlighter');
});

beforeEach(() => {
  vi.useFakeTimers({
    toFake: [
      'requestAnimationFrame',
      'cancelAnimationFrame',
      'performance',
      'setTimeout',
      'clearTimeout',
      'setInterval',
      'clearInterval',
      'Date',
    ],
  });
  hidden = false;
  still = false;
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  vi.spyOn(window, 'matchMedia').mockImplementation(() => ({ matches: still }) as MediaQueryList);
  host = document.createElement('div');
  document.body.append(host);
});

afterEach(async () => {
  render(null, host);
  host.remove();
  document.getSelection()?.removeAllRanges();
  // Preact's effects wait for a timer, which must not be lost with the fake clock.
  await pass(200);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

type Props = Parameters<typeof Answer>[0];

function show(props: Props): void {
  render(<Answer {...props} />, host);
}

/** Advances the clock frame by frame, and runs what is waiting in between. */
async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** Waits until lazy imports are requested, loaded and used. */
async function loaded(): Promise<void> {
  await pass(100);
  await vi.dynamicImportSettled();
  await pass(1_000);
}

async function stream(text: string, at: Iterable<number>, props: Partial<Props> = {}): Promise<void> {
  show({ text: '', open: true, smooth: false, ...props });
  for (const length of at) {
    show({ text: text.slice(0, length), open: true, smooth: false, ...props });
    await pass(17);
  }
  show({ text, open: false, smooth: false, ...props });
  await pass(1_000);
}

const answer = (): HTMLElement => host.querySelector<HTMLElement>('.answer') ?? expect.fail('no answer');

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

describe('the text of a model', () => {
  const attacks = [
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<svg/onload=alert(1)>',
    '<iframe src="javascript:alert(1)"></iframe>',
    '<a href="javascript:alert(1)">x</a>',
    '[x](javascript:alert(1))',
    '[x](JAVASCRIPT:alert(1))',
    '[x](java&#10;script:alert(1))',
    '[x](&#x6A;avascript:alert(1))',
    '<javascript:alert(1)>',
    '[x](data:text/html;base64,PHNjcmlwdD4=)',
    '![x](javascript:alert(1))',
    '![x](https://spy.example/p.gif)',
    '![x" onerror="alert(1)](https://a.example)',
    '[x]: javascript:alert(1)\n\n[x]',
    '[x](https://a.example "onmouseover=alert(1)")',
    '```"><script>alert(1)</script>\n<script>\n```',
    '`<script>`',
    '| <script> |\n|---|\n| <img src=x onerror=alert(1)> |',
    '\\(\\href{javascript:alert(1)}{x}\\)',
    '$$\\includegraphics{https://spy.example/x.png}$$',
    '<style>*{display:none}</style>',
    '<form action=//evil.example><input>',
    '<!--',
    '<base href="//evil.example">',
    '<meta http-equiv=refresh content=0>',
    '&lt;script&gt;alert(1)&lt;/script&gt;',
  ];

  test.each(attacks)('%s does nothing, streamed in pieces of any size', async (attack) => {
    for (const longest of [1, 5, 100]) {
      render(null, host);
      await stream(`text ${attack}\n\n${attack}\n`, cuts(`text ${attack}\n\n${attack}\n`, new Chance(SEED), longest));
      expect(host.querySelector('script, img, svg, iframe, style, form, base, meta, object, embed, input, video')).toBe(
        null,
      );
      for (const element of host.querySelectorAll('*')) {
        for (const { name } of element.attributes) expect(name).not.toMatch(/^on|^style$|^src$/);
        const href = element.getAttribute('href');
        if (href !== null) expect(href).toMatch(/^(https?|mailto):/);
        if (href !== null) expect(element.getAttribute('rel')).toBe('noopener noreferrer nofollow');
      }
    }
  });

  test('cannot reorder the text beside it', () => {
    show({ text: 'a\u202Eb `c\u202Ed`\n\n```\ne\u2066f\n```', open: false });
    expect(answer().textContent).not.toMatch(/[\u202A-\u202E\u2066-\u2069]/);
    expect(answer().querySelector('pre')?.textContent).toBe('e⟦U+2066⟧f\n');
  });

  test('may end with half a surrogate pair', async () => {
    await stream('a \uD83D\uDE00 b \uD800 c', [3, 4, 6]);
    expect(answer().textContent).toContain('😀');
  });
});

describe('a code block', () => {
  const source = 'const a = "<b>";\n\n\tif (a) {\n  }\n';
  const button = (): HTMLButtonElement => host.querySelector('button') ?? expect.fail('no button');

  test('copies exactly its source', async () => {
    const writeText = vi.fn(async () => undefined);
    vi.stubGlobal('navigator', { clipboard: { writeText } });
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    button().click();
    await pass(1);
    expect(writeText).toHaveBeenCalledWith(source);
    expect(button().textContent).toBe('Copied');
    await pass(3_000);
    expect(button().textContent).toBe('Copy');
    vi.unstubAllGlobals();
  });

  test('copies by a selected field where there is no clipboard', async () => {
    vi.stubGlobal('navigator', {});
    let copied = '';
    document.execCommand = () => {
      copied = document.querySelector('textarea')?.value ?? '';
      return true;
    };
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    button().click();
    await pass(1);
    expect(copied).toBe(source);
    expect(document.querySelector('textarea')).toBe(null);
    expect(button().textContent).toBe('Copied');
    vi.unstubAllGlobals();
  });

  test('reports on its button that it could not copy, and selects the code', async () => {
    vi.stubGlobal('navigator', { clipboard: { writeText: async () => Promise.reject(new Error('denied')) } });
    document.execCommand = () => false;
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    button().click();
    await pass(1);
    expect(button().textContent).toBe('Could not copy');
    expect(document.getSelection()?.toString()).toContain('const a');
    vi.unstubAllGlobals();
  });

  test('gets its colours when it is complete, and keeps its text', async () => {
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    await loaded();
    expect(host.querySelector('.token-keyword')?.textContent).toBe('const');
    expect(host.querySelector('pre')?.textContent).toBe(source);
    expect(host.querySelector('.code-language')?.textContent).toBe('js');
  });

  test('gets no colours while it is selected', async () => {
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    document.getSelection()?.selectAllChildren(host.querySelector('pre') ?? host);
    await loaded();
    expect(host.querySelector('.token-keyword')).toBe(null);
    document.getSelection()?.removeAllRanges();
    document.dispatchEvent(new Event('selectionchange'));
    await pass(100);
    expect(host.querySelector('.token-keyword')?.textContent).toBe('const');
  });
});

test('a formula shows its source until KaTeX is loaded, and half a formula is not rendered', async () => {
  show({ text: '\\(x^2\\)\n\n$$\ny', open: true });
  expect([...host.querySelectorAll('.formula')].map((one) => one.textContent)).toEqual(['x^2', 'y']);
  await loaded();
  expect([...host.querySelectorAll('.formula')].map((one) => one.textContent)).toEqual(['⟨x^2⟩', 'y']);
});
