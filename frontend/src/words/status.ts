// The texts of the status line, of the note below an answer, and of announcements to screen readers. Pure.

import type { Conversation, Phase, Takeover } from '../log/conversation';
import { phase } from '../log/conversation';
import type { Entry, Failure } from '../log/events';
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
      // “Nothing lost” would be wrong beside a text that was discarded.
      const isWhole = conversation.takeover?.began !== 'again';
      const resumed = resumedAt === null || !isWhole ? [] : [words.resumedAt(resumedAt.toLocaleTimeString(words.tag))];
      return [words.live, ...resumed, ...activity(words, conversation)].join(' · ');
    }
  }
}

function activity(words: Words, conversation: Conversation): string[] {
  switch (phase(conversation)) {
    case 'queued':
      return [words.waitingForWorker];
    case 'streaming':
      return [tookOver(words, conversation) || words.answering];
    default:
      return conversation.messages.length > 0 ? [words.done] : [];
  }
}

/** The sentences for an answer that broke off and is taken up again; empty if a reader has nothing to learn. */
function tookOver(words: Words, { takeover }: Conversation): string {
  if (takeover === null) return '';
  const { began, model } = takeover;
  return words.sentences([
    ...(began === 'fresh' ? [] : [words.brokeOff[began]]),
    ...(model === null ? [] : [words.brokeOff.model(model)]),
  ]);
}

/** The note below an answer, or an empty string if it needs none. `tried` is the number of its attempts. */
export function ending(words: Words, { text, end, error }: Pick<Entry, 'text' | 'end' | 'error'>, tried = 1): string {
  switch (end) {
    case null:
      return '';
    case 'error':
      return words.sentences([
        words.ends.error(error === undefined ? '' : failure(words, error)),
        ...(tried > 1 ? [words.ends.tried(tried)] : []),
      ]);
    case 'stop':
      return text === '' ? words.ends.empty : '';
    default:
      return words.ends[end];
  }
}

// The worker's message is a sentence in English and then, in parentheses, what the model's provider wrote.
const PROVIDERS_WORDS = /\. \((.+)\)$/s;

/** Why an answer failed: in the page's language if the code is known, and in the provider's own words if it gave some. */
function failure(words: Words, { code, message }: Failure): string {
  const known = words.failures[code];
  if (known === undefined) return message;
  const quote = PROVIDERS_WORDS.exec(message)?.[1];
  return quote === undefined ? known : words.sentences([known, words.ends.quoted(quote)]);
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
  takeover: Takeover | null;
}

/** The announcement for a change of state, or null if it needs none. Tokens are not announced: there are too many. */
export function announcement(words: Words, before: Moment, now: Moment, conversation: Conversation): string | null {
  if (before.isLost !== null && now.isLost !== null && before.isLost !== now.isLost) {
    return now.isLost ? words.announce.lost : words.announce.back;
  }
  if (now.phase === before.phase) {
    const isNews = now.phase === 'streaming' && !isSame(before.takeover, now.takeover);
    return (isNews && tookOver(words, conversation)) || null;
  }
  if (now.phase === 'streaming') return words.announce.answering;
  if (now.phase !== 'idle' || before.phase === null) return null;
  const last = conversation.messages.at(-1);
  const tried = last && conversation.attempts[last.turn]?.count;
  return (last && ending(words, last, tried)) || words.announce.done;
}

/** Compared by value: the leader of a session's tabs sends copies. */
function isSame(one: Takeover | null, other: Takeover | null): boolean {
  return one?.attempt === other?.attempt && one?.began === other?.began && one?.model === other?.model;
}
