/**
 * `text` with one kind of line end and no NUL, as CommonMark asks (its section 2.3). A carriage return at the end waits for
 * what follows it, so what is an extension before is one after.
 */
export function normalise(text: string): string {
  const clean = text.includes('\0') ? text.replaceAll('\0', '\uFFFD') : text;
  return clean.includes('\r') ? clean.replace(/\r$/, '').replace(/\r\n?/g, '\n') : clean;
}
