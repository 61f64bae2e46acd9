// Runs tasks when the browser is idle, in slices so short that no frame is late.

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
  // A browser without `requestIdleCallback` runs the slice after the next frame.
  if (typeof requestIdleCallback === 'function') requestIdleCallback(run, { timeout: 500 });
  else setTimeout(run, 32);
}

/** Runs `task` when the browser is idle. Returns a function that cancels it. */
export function whenIdle(task: Task): () => void {
  waiting.push(task);
  schedule();
  return () => {
    const at = waiting.indexOf(task);
    if (at >= 0) waiting.splice(at, 1);
  };
}
