// Answers in a document, with a clock that the test advances.

import { render } from 'preact';
import { expect, onTestFinished, vi } from 'vitest';

import { Answer } from '../../src/answer/Answer';

// Each test file that imports this one draws a formula as its source in angle brackets, without KaTeX.
vi.mock('../../src/answer/katex', () => ({
  render: (source: string, node: HTMLElement) => {
    node.textContent = `⟨${source}⟩`;
  },
}));

type Props = Parameters<typeof Answer>[0];

/** The element that the answers of this test are drawn in. */
export let host: HTMLElement;

/** Prepares a test; call it in `beforeEach`. Undone when the test is over. */
export async function prepareAnswers(): Promise<void> {
  // A lazy import takes real time in a test, since each module is compiled.
  await import('../../src/answer/highlighter');
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
  host = document.createElement('div');
  document.body.append(host);
  onTestFinished(async () => {
    render(null, host);
    host.remove();
    document.getSelection()?.removeAllRanges();
    // Preact's effects wait for a timer, which must not be lost with the fake clock.
    await pass(200);
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
}

export function show(props: Props): void {
  render(<Answer {...props} />, host);
}

/** Advances the clock frame by frame, and runs what is waiting in between. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** Waits until lazy imports are requested, loaded and used. */
export async function loaded(): Promise<void> {
  await pass(100);
  await vi.dynamicImportSettled();
  await pass(1_000);
}

export async function stream(text: string, at: Iterable<number>, props: Partial<Props> = {}): Promise<void> {
  show({ text: '', open: true, smooth: false, ...props });
  for (const length of at) {
    show({ text: text.slice(0, length), open: true, smooth: false, ...props });
    await pass(17);
  }
  show({ text, open: false, smooth: false, ...props });
  await pass(1_000);
}

export const answer = (): HTMLElement => host.querySelector<HTMLElement>('.answer') ?? expect.fail('no answer');
