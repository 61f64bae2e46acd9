const ALLOWED = new Set(['http:', 'https:', 'mailto:']);

/**
 * The address of a link in an answer, normalised as the browser does it, or null where the link is not allowed. The URL
 * parser decides, never a pattern: a browser drops tabs and newlines inside a scheme, so `java\tscript:` passes most
 * patterns. A relative address has no meaning in an answer and would lead into this page.
 */
export function safeHref(raw: string): string | null {
  let url: URL;
  try {
    url = new URL(raw);
  } catch {
    return null;
  }
  return ALLOWED.has(url.protocol) ? url.href : null;
}
