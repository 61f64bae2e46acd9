// An answer as it is written. Its way from text to screen:
//
//   text → paintScheduler.ts   when to paint, and how much (typewriter.ts)
//        → markdown/           text into a syntax tree; incrementalParser.ts keeps the cost of growth linear
//        → blocks.tsx          the tree into elements, and only what differs from the last paint
//        → CodeBlock.tsx, Formula.tsx   colours and formulas, when the browser is idle (idleTasks.ts)

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { Groups } from './blocks';
import { PaintScheduler } from './paintScheduler';
import type { Node } from './markdown/syntaxTree';
import './answer.css';

interface Props {
  /** The whole answer so far. If it is no extension of the text before, the answer is drawn from the start. */
  text: string;
  /** Whether more text may come. */
  open: boolean;
  /** False shows new text at once, without the typewriter. */
  smooth?: boolean;
  /** Called after each paint and each change of size: the answer may have become longer. */
  onPaint?: () => void;
}

function mayAnimate(): boolean {
  return !document.hidden && !matchMedia('(prefers-reduced-motion: reduce)').matches;
}

/** One message of the model: Markdown, growing or finished. */
export function Answer({ text, open, smooth = true, onPaint }: Props) {
  const [, setNodes] = useState<readonly Node[]>([]);
  const kept = useRef<PaintScheduler | null>(null);
  // The text at hand is shown at once: a reload must not type it again.
  const scheduler = (kept.current ??= new PaintScheduler(text, open, setNodes));

  useLayoutEffect(() => scheduler.update(text, open, smooth && mayAnimate()), [scheduler, text, open, smooth]);
  useEffect(() => {
    const onVisible = (): void => {
      if (!document.hidden) scheduler.catchUp();
    };
    document.addEventListener('visibilitychange', onVisible);
    return () => {
      document.removeEventListener('visibilitychange', onVisible);
      scheduler.stop();
    };
  }, [scheduler]);

  const { nodes } = scheduler;
  useLayoutEffect(() => onPaint?.(), [nodes]);
  // Formulas and fonts load after the text and change its height, too.
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
