import { whenIdle } from './idleTasks';

type Engine = typeof import('./katex');

let loading: Promise<Engine> | null = null;

function engine(): Promise<Engine> {
  // A load that failed (the network was away) is tried again for the next formula.
  loading ??= import('./katex').catch((error: unknown) => {
    loading = null;
    throw error;
  });
  return loading;
}

/** Sets `source` into `node` once the engine is there and there is time; the function returned gives it up. */
export function typeset(source: string, node: HTMLElement, display: boolean): () => void {
  let cancel = (): void => undefined;
  let wanted = true;
  engine().then(
    ({ render }) => {
      if (wanted) cancel = whenIdle(() => render(source, node, display));
    },
    // Without the engine the source stays, which can be read.
    () => undefined,
  );
  return () => {
    wanted = false;
    cancel();
  };
}
