/** The product's name, with the pen between its two halves. */
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
