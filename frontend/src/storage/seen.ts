// The last turn of each session that this browser has seen, so that the list can mark new answers.

import type { Listed } from '../transport/api';
import { sharedStore } from './webStorage';

export const SEEN = 'seen';

type Seen = Record<string, number>;

function all(): Seen {
  const kept = sharedStore.get(SEEN);
  return typeof kept === 'object' && kept !== null ? (kept as Seen) : {};
}

/** The newest turn that is finished. */
function ended({ state, turn }: Pick<Listed, 'state' | 'turn'>): number {
  return state === 'idle' ? turn : turn - 1;
}

export function markSeen(session: string, state: Listed['state'], turn: number): void {
  const seen = all();
  const upTo = ended({ state, turn });
  if ((seen[session] ?? -1) < upTo) sharedStore.set(SEEN, { ...seen, [session]: upTo });
}

/** The sessions with an answer that this browser has not seen. A session that is new to this browser counts as seen. */
export function unread(listed: readonly Listed[]): ReadonlySet<string> {
  const seen = all();
  const known: Seen = {};
  for (const session of listed) known[session.session_id] = seen[session.session_id] ?? ended(session);
  // Only listed sessions are stored: sessions expire, and storage is small.
  if (listed.some(({ session_id: id }) => !(id in seen))) sharedStore.set(SEEN, known);
  return new Set(
    listed.filter((session) => ended(session) > (known[session.session_id] ?? 0)).map(({ session_id: id }) => id),
  );
}
