import { Component } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import { CopyButton } from './CopyButton';
import { GrowingText } from './GrowingText';
import { withBidiMarked, withoutBidi } from './bidi';
import { Colouring, type Run } from './colouring';
import { whenIdle } from './idleTasks';
import type { Fence } from './markdown/syntaxTree';

interface ChunkProps {
  text: string;
  runs: readonly Run[] | null;
}

class Chunk extends Component<ChunkProps> {
  override shouldComponentUpdate({ text, runs }: ChunkProps): boolean {
    return text !== this.props.text || runs !== this.props.runs;
  }

  override render({ text, runs }: ChunkProps) {
    if (runs === null) {
      return (
        <span class="chunk">
          <GrowingText text={withBidiMarked(text)} />
        </span>
      );
    }
    return (
      <span class="chunk">
        {runs.map((run, i) => {
          const shown = withBidiMarked(run.text);
          return run.colour === 'plain' ? (
            shown
          ) : (
            <span key={i} class={`token-${run.colour}`}>
              {shown}
            </span>
          );
        })}
      </span>
    );
  }
}

type Done = readonly (readonly Run[] | null)[];

/** The coloured runs of the fence's chunks, as far as they are done. */
function useColours(fence: Fence, shown: { readonly current: HTMLElement | null }): Done {
  const [done, setDone] = useState<Done>([]);
  const colouring = useRef<Promise<Colouring> | null>(null);
  const { language, chunks, open } = fence;
  const complete = open ? chunks.length - 1 : chunks.length;
  useEffect(() => {
    if (language === '' || complete < 1) return undefined;
    let cancel = (): void => undefined;
    let wanted = true;
    colouring.current ??= import('./highlighter').then(({ highlight }) => new Colouring(language, highlight));
    colouring.current.then(
      (work) => {
        const next = (): void => {
          if (!wanted) return;
          if (work.behind(complete)) work.step(chunks, !open && complete === chunks.length);
          publish(work);
          if (work.behind(complete)) cancel = whenIdle(next);
        };
        const publish = (from: Colouring): void => {
          // Colouring replaces text nodes, which would collapse a selection in them: it waits until the selection
          // changes.
          if (isSelected(shown.current)) document.addEventListener('selectionchange', later, { once: true });
          else setDone(from.done.slice());
        };
        const later = (): void => publish(work);
        cancel = whenIdle(next);
        const idle = cancel;
        cancel = () => {
          idle();
          document.removeEventListener('selectionchange', later);
        };
      },
      // The highlighter did not load: the code stays plain, and the next chunk tries again.
      () => {
        colouring.current = null;
      },
    );
    return () => {
      wanted = false;
      cancel();
    };
  }, [language, complete, open]);
  return done;
}

function isSelected(node: globalThis.Node | null): boolean {
  const selection = document.getSelection();
  return node !== null && selection !== null && !selection.isCollapsed && selection.containsNode(node, true);
}

/** A fence: its language, a button that copies exactly its code, and the code. */
export function CodeBlock({ fence }: { fence: Fence }) {
  const code = useRef<HTMLElement>(null);
  const done = useColours(fence, code);
  return (
    <div class="code" dir="ltr">
      <div class="code-head">
        <span class="code-language">{withoutBidi(fence.language)}</span>
        <CopyButton source={() => fence.chunks.join('')} shown={code} />
      </div>
      <pre tabIndex={0}>
        <code ref={code}>
          {fence.chunks.map((chunk, i) => (
            <Chunk key={i} text={chunk} runs={done[i] ?? null} />
          ))}
        </code>
      </pre>
    </div>
  );
}
