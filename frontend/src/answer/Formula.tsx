import { useLayoutEffect, useRef } from 'preact/hooks';

import { typeset } from './typesetter';

/** A formula; its source until the typesetter is there, and for good where it cannot be set. */
export function Formula({ source, display }: { source: string; display: boolean }) {
  const host = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    const node = host.current;
    if (node === null) return undefined;
    node.textContent = source;
    return typeset(source, node, display);
  }, [source, display]);
  return <span ref={host} class={display ? 'formula display' : 'formula'} dir="ltr" />;
}
