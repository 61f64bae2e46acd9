// The texts of the status line, of the note below an answer, and of announcements to screen readers. Pure.

import type { Conversation, Phase } from '../log/conversation';
import { phase } from '../log/conversation';
import type { Entry } from '../log/events';
import type { Connection } from '../transport/stream';
import type { Words } from './en';

export interface Situation {
  connection: Connection | null;
  conversation: Conversation;
  resumedAt: Date | null;
  isOnline: boolean;
}

/** The text of the status line above the text box. */
export function status(words: Words, { connection, conversation, resumedAt, isOnline }: Situation): string {
  switch (connection?.kind) {
    case undefined:
      return words.ready;
    case 'gone':
      return words.gone;
    case 'connecting':
      return words.connecting;
    case 'resting':
      return words.resting;
    case 'reconnecting':
      return isOnline ? words.reconnecting : words.offline;
    case 'waiting':
      if (!isOnline) return words.offline;
      if (connection.why !== undefined) return words.refusedIn(reason(words, connection.why), connection.seconds);
      return words.reconnectingIn(connection.seconds);
    default: {
      const resumed = resumedAt === null ? [] : [words.resumedAt(resumedAt.toLocaleTimeString(words.tag))];
      return [words.live, ...resumed, ...activity(words, conversation)].join(' · ');
    }
  }
}

function activity(words: Words, conversation: Conversation): string[] {
  const { takeover, messages } = conversation;
  switch (phase(conversation)) {
    case 'queued':
      return [words.waitingForWorker];
    case 'streaming':
      if (takeover === null) return [words.answering];
      return [takeover.began === 'on' ? words.workerReplacedOn : words.workerReplacedAgain(takeover.attempt)];
    default:
      return messages.length > 0 ? [words.done] : [];
  }
}

/** The note below an answer, or an empty string if it needs none. */
export function ending(words: Words, { text, end, error }: Pick<Entry, 'text' | 'end' | 'error'>): string {
  switch (end) {
    case null:
      return '';
    case 'error':
      return words.ends.error(words.failures[error?.code ?? ''] ?? error?.message ?? '');
    case 'stop':
      return text === '' ? words.ends.empty : '';
    default:
      return words.ends[end];
  }
}

/** The sentence for a refusal; in the page's language if the code is known. */
export function reason(words: Words, refusal: { status: number; code: string; message: string }): string {
  const { code, message } = refusal;
  return code === 'status' ? words.answered(refusal.status) : (words.refusals[code] ?? message);
}

/** The state that announcements to a screen reader depend on. */
export interface Moment {
  isLost: boolean | null;
  phase: Phase | null;
}

/** The announcement for a change of state, or null if it needs none. Tokens are not announced: there are too many. */
export function announcement(words: Words, before: Moment, now: Moment, conversation: Conversation): string | null {
  if (before.isLost !== null && now.isLost !== null && before.isLost !== now.isLost) {
    return now.isLost ? words.announce.lost : words.announce.back;
  }
  if (now.phase === before.phase) return null;
  if (now.phase === 'streaming') return words.announce.answering;
  if (now.phase !== 'idle' || before.phase === null) return null;
  const last = conversation.messages.at(-1);
  return (last && ending(words, last)) || words.announce.done;
}
