import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { Groups } from './blocks';
import { Painter } from './paintScheduler';
import type { Node } from './markdown/syntaxTree';
import './answer.css';

interface Props {
  /** The whole answer so far. It grows by appending; anything else makes a new beginning. */
  text: string;
  /** More may come. */
  open: boolean;
  /** False shows at once whatever arrives. */
  smooth?: boolean;
  /** Called after every paint, when the answer may have become longer. */
  onPaint?: () => void;
}

function mayMove(): boolean {
  return !document.hidden && !matchMedia('(prefers-reduced-motion: reduce)').matches;
}

/** One message of the model's: Markdown, as it is written or when it is done. */
export function Answer({ text, open, smooth = true, onPaint }: Props) {
  const [, setNodes] = useState<readonly Node[]>([]);
  const kept = useRef<Painter | null>(null);
  // What is there at the start is shown at once: a reload must not type it again.
  const painter = (kept.current ??= new Painter(text, open, setNodes));

  useLayoutEffect(() => painter.update(text, open, smooth && mayMove()), [painter, text, open, smooth]);
  useEffect(() => {
    const onVisible = (): void => {
      if (!document.hidden) painter.catchUp();
    };
    document.addEventListener('visibilitychange', onVisible);
    return () => {
      document.removeEventListener('visibilitychange', onVisible);
      painter.stop();
    };
  }, [painter]);

  const { nodes } = painter;
  useLayoutEffect(() => onPaint?.(), [nodes]);
  // Formulas and fonts come after the text, and make it longer too.
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (root.current === null || onPaint === undefined) return undefined;
    const observer = new ResizeObserver(() => onPaint());
    observer.observe(root.current);
    return () => observer.disconnect();
  }, [onPaint]);

  return (
    <div class="answer" dir="auto" ref={root}>
      <Groups nodes={nodes} wrap="div" />
    </div>
  );
}
