// How the page names a session behind the `#` of its address, which no server is sent: `<id>` for one of one's own, `<id>/<capability>`
// for one that somebody shared, to be read along (docs/protocol.md, section 7).

export interface Place {
  session: string;
  /** What opens it to a reader who does not own it. */
  share: string | null;
}

export function placeOf(name: string): Place {
  const at = name.indexOf('/');
  return at < 0 ? { session: name, share: null } : { session: name.slice(0, at), share: name.slice(at + 1) };
}

/** The address of this page that opens a session to whoever has it. */
export function linkTo(session: string, share: string): string {
  return `${location.origin}${location.pathname}#${encodeURIComponent(session)}/${encodeURIComponent(share)}`;
}
