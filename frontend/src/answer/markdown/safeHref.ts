const ALLOWED = new Set(['http:', 'https:', 'mailto:']);

/**
 * Where a link of a model's may lead, normalised as the browser would, or null. Parsing decides, never a pattern: a browser
 * drops tabs and newlines inside a scheme, so `java\tscript:` passes most patterns. A relative address has no meaning in
 * an answer and would lead into this page.
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
