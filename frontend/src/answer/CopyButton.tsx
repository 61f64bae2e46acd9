import type { RefObject } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import { useWords } from '../words/words';
import { copy, select } from './clipboard';

// How many milliseconds the outcome is shown.
const SHOWN_FOR = 2_000;

interface Props {
  source: () => string;
  /** What is selected if the clipboard cannot be written. */
  shown: RefObject<HTMLElement | null>;
}

export function CopyButton({ source, shown }: Props) {
  const words = useWords();
  const [outcome, setOutcome] = useState<'copied' | 'failed' | null>(null);
  useEffect(() => {
    if (outcome === null) return undefined;
    const timer = setTimeout(() => setOutcome(null), SHOWN_FOR);
    return () => clearTimeout(timer);
  }, [outcome]);

  async function onClick(): Promise<void> {
    const done = await copy(source());
    if (!done && shown.current !== null) select(shown.current);
    setOutcome(done ? 'copied' : 'failed');
  }

  const label = outcome === 'copied' ? words.copied : outcome === 'failed' ? words.copyFailed : words.copy;
  return (
    <button type="button" class="copy" onClick={() => void onClick()}>
      <span aria-live="polite">{label}</span>
    </button>
  );
}
