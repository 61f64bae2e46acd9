// What the page says of what is going on, and what a screen reader is told of it. Pure: sentences from states.

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

/** The line above the text box. */
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
      return [words.live, ...resumed, ...doing(words, conversation)].join(' · ');
    }
  }
}

function doing(words: Words, conversation: Conversation): string[] {
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

/** The note below an answer, or an empty string where there is nothing to add. */
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

/** Why something was refused, in the page's language where the code is known. */
export function reason(words: Words, refusal: { status: number; code: string; message: string }): string {
  const { code, message } = refusal;
  return code === 'status' ? words.answered(refusal.status) : (words.refusals[code] ?? message);
}

/** What matters of a moment to somebody who hears the page. */
export interface Moment {
  isLost: boolean | null;
  phase: Phase | null;
}

/** The turning points alone, since every token would be unbearable. Null where there is nothing new to say. */
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
