// What the page says of what is going on.

import { phase } from './conversation.js';

export const GONE = 'This conversation is not here: it was deleted, it expired, or it belongs to somebody else.';

/** The line above the text box. `connection` is what stream.js reports, or null on a new chat. */
export function status(connection, conversation) {
  switch (connection?.kind) {
    case undefined:
      return 'Ready.';
    case 'connecting':
      return 'Connecting…';
    case 'reconnecting':
      return 'Connection lost. Reconnecting…';
    case 'waiting':
      return `Connection lost. Reconnecting in ${connection.seconds} s…`;
    case 'gone':
      return GONE;
    default:
      return `Live. ${doing(conversation)}`.trim();
  }
}

export function doing(conversation) {
  switch (phase(conversation)) {
    case 'queued':
      return 'Waiting for a worker…';
    case 'streaming':
      return conversation.attempt > 1 ? `Answering again (attempt ${conversation.attempt})…` : 'Answering…';
    default:
      return conversation.messages.length > 0 ? 'Done.' : '';
  }
}

const ENDS = {
  length: 'Cut off: the model reached its length limit.',
  content_filter: 'Ended by the content filter of the model’s provider.',
  stopped: 'Stopped.',
};

/** The note below a finished answer, or an empty string where there is nothing to add. */
export function ending({ text, end, error }) {
  if (end === 'error') return `The answer failed: ${error?.message ?? 'no reason was given.'}`;
  if (end === 'stop' && text === '') return 'The model answered with no text.';
  return ENDS[end] ?? '';
}

/** What a screen reader is told: the turning points alone, since every token would be unbearable. */
export function announcement(before, after, conversation) {
  if (after.connection !== before.connection) {
    if (after.connection === 'gone') return GONE;
    if (after.connection === 'reconnecting') return 'Connection lost';
    if (before.connection === 'reconnecting' && after.connection === 'live') return 'Connected again';
  }
  if (after.phase === before.phase) return null;
  if (after.phase === 'streaming') return 'Answering';
  if (after.phase === 'idle' && before.phase !== null) return ending(conversation.messages.at(-1)) || 'Done';
  return null;
}
