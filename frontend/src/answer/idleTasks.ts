// Work that may wait, done in slices that no frame is late for.

const SLICE = 8;

type Task = () => void;

const waiting: Task[] = [];
let scheduled = false;

function run(): void {
  scheduled = false;
  const until = performance.now() + SLICE;
  for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
    task();
    if (performance.now() >= until) break;
  }
  if (waiting.length > 0) schedule();
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  // Not every browser tells when it is idle; behind the next frame is good enough there.
  if (typeof requestIdleCallback === 'function') requestIdleCallback(run, { timeout: 500 });
  else setTimeout(run, 32);
}

/** Runs `task` when there is time; the function returned takes it back. */
export function whenIdle(task: Task): () => void {
  waiting.push(task);
  schedule();
  return () => {
    const at = waiting.indexOf(task);
    if (at >= 0) waiting.splice(at, 1);
  };
}
