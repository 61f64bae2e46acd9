// Event ids `<turn>.<epoch>-<seq>` are arithmetic (docs/protocol.md 1.2): a reader can see for itself that nothing is missing.

const SHAPE = /^(\d+)\.(\d+)-(\d+)$/;

interface Parts {
  turn: number;
  epoch: number;
  seq: number;
}

/** What an event is to a reader that stands at `cursor`: the `next` one, `seen` already, or past a `hole`. */
export function place(cursor: string | null, id: string | null): 'next' | 'seen' | 'hole' {
  const here = parts(cursor);
  const there = parts(id);
  // A reader without a cursor has nothing to compare with; what it gets first is a snapshot.
  if (here === null) return 'next';
  if (there === null) return 'hole';
  return there.turn === here.turn ? within(here, there) : across(here, there);
}

function within(here: Parts, there: Parts): 'next' | 'seen' | 'hole' {
  if (there.seq === here.seq + 1) return there.epoch >= here.epoch ? 'next' : 'hole';
  if (there.seq > here.seq) return 'hole';
  // The same seq under a later epoch is other content: a tail was lost, and what stands here is no longer the log.
  return there.epoch > here.epoch ? 'hole' : 'seen';
}

function across(here: Parts, there: Parts): 'next' | 'seen' | 'hole' {
  if (there.turn < here.turn) return 'seen';
  return there.turn === here.turn + 1 && there.seq === 0 ? 'next' : 'hole';
}

export function parts(id: string | null): Parts | null {
  const match = SHAPE.exec(id ?? '');
  if (match === null) return null;
  const [turn, epoch, seq] = match.slice(1).map(Number) as [number, number, number];
  return { turn, epoch, seq };
}
