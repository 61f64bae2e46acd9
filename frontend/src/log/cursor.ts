// The arithmetic of event ids, `<turn>.<epoch>-<seq>` (docs/protocol.md 1.2): a reader can detect a missing event.

const SHAPE = /^(\d+)\.(\d+)-(\d+)$/;

interface Parts {
  turn: number;
  epoch: number;
  seq: number;
}

/** How an event relates to a reader's cursor: it is the `next` one, was `seen` already, or follows a `gap`. */
export function relation(cursor: string | null, id: string | null): 'next' | 'seen' | 'gap' {
  const here = parts(cursor);
  const there = parts(id);
  // A reader without a cursor receives a snapshot first.
  if (here === null) return 'next';
  if (there === null) return 'gap';
  return there.turn === here.turn ? within(here, there) : across(here, there);
}

function within(here: Parts, there: Parts): 'next' | 'seen' | 'gap' {
  if (there.seq === here.seq + 1) return there.epoch >= here.epoch ? 'next' : 'gap';
  if (there.seq > here.seq) return 'gap';
  // The same seq in a later epoch is another event: a tail of the log was lost, and this reader still shows that tail.
  return there.epoch > here.epoch ? 'gap' : 'seen';
}

function across(here: Parts, there: Parts): 'next' | 'seen' | 'gap' {
  if (there.turn < here.turn) return 'seen';
  return there.turn === here.turn + 1 && there.seq === 0 ? 'next' : 'gap';
}

export function parts(id: string | null): Parts | null {
  const match = SHAPE.exec(id ?? '');
  if (match === null) return null;
  const [turn, epoch, seq] = match.slice(1).map(Number) as [number, number, number];
  return { turn, epoch, seq };
}
