import { useLayoutEffect, useRef } from 'preact/hooks';

import { whenIdle } from './idleTasks';

type Katex = typeof import('./katex');

let loading: Promise<Katex> | null = null;

function loaded(): Promise<Katex> {
  // A load that failed, for example offline, is tried again for the next formula.
  loading ??= import('./katex').catch((error: unknown) => {
    loading = null;
    throw error;
  });
  return loading;
}

/** Renders `source` into `node` when KaTeX is loaded and the page is idle. Returns a function that cancels it. */
function typeset(source: string, node: HTMLElement, display: boolean): () => void {
  let cancel = (): void => undefined;
  let wanted = true;
  loaded().then(
    ({ render }) => {
      if (wanted) cancel = whenIdle(() => render(source, node, display));
    },
    // Without KaTeX the source stays, which can be read.
    () => undefined,
  );
  return () => {
    wanted = false;
    cancel();
  };
}

interface Props {
  source: string;
  display: boolean;
  /** False shows the source: half a formula cannot be rendered. */
  whole: boolean;
}

/** A formula. It shows its source until KaTeX is loaded, and for good if KaTeX cannot render it. */
export function Formula({ source, display, whole }: Props) {
  const host = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    const node = host.current;
    if (node === null) return undefined;
    node.textContent = source;
    return whole ? typeset(source, node, display) : undefined;
  }, [source, display, whole]);
  return <span ref={host} class={display ? 'formula display' : 'formula'} dir="ltr" />;
}
