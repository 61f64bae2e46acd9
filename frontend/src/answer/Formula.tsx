import { useLayoutEffect, useRef } from 'preact/hooks';

import { typeset } from './typesetter';

interface Props {
  source: string;
  display: boolean;
  /** Half a formula is shown as it is written. */
  whole: boolean;
}

/** A formula; its source until the typesetter is there, and for good where it cannot be set. */
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
