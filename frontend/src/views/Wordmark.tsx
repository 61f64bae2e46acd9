/** The name, with the mark of what it is about: a pen that waits in the middle of a sentence. */
export function Wordmark() {
  return (
    <span class="wordmark" role="img" aria-label="midsentence">
      <span aria-hidden="true">
        mid
        <i class="pen" />
        sentence
      </span>
    </span>
  );
}
