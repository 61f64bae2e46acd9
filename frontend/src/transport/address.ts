// The session in the fragment of the page's address, which browsers send to no server: `<id>` for a session of this
// reader, `<id>/<capability>` for a shared one (docs/protocol.md, section 7).

export interface SessionAddress {
  session: string;
  /** The capability that lets a reader who is not the owner read it. */
  share: string | null;
}

export function parseAddress(name: string): SessionAddress {
  const at = name.indexOf('/');
  return at < 0 ? { session: name, share: null } : { session: name.slice(0, at), share: name.slice(at + 1) };
}

/** The link with which anybody can read a session. */
export function shareLink(session: string, share: string): string {
  return `${location.origin}${location.pathname}#${encodeURIComponent(session)}/${encodeURIComponent(share)}`;
}
