// The conversation as the rows that are drawn: what the log holds, then what waits in the queue, then what this tab has
// still to bring to the server.

import { phase } from './conversation.js';
import { known } from './outbox.js';
import { ending } from './words.js';

export function rows(conversation, entries) {
  const keys = new Set(conversation.queued.map((waiting) => waiting.key));
  const mine = entries.filter((entry) => !keys.has(entry.key) && !known(entry, conversation));
  return [
    ...conversation.messages.map(logged),
    ...pending(conversation),
    ...conversation.queued.map(queued),
    ...mine.map(unsent),
  ];
}

function logged(message) {
  const id = `${message.role}-${message.turn}`;
  if (message.role === 'user') return row({ id, role: 'user', text: message.text });
  return row({
    id,
    text: message.text,
    note: ending(message),
    tone: message.end === 'error' ? 'bad' : '',
    live: message.end === null,
  });
}

/** The answer's place before its first word; the words then grow in the same row. */
function pending(conversation) {
  const last = conversation.messages.at(-1);
  if (last?.role !== 'user' || phase(conversation) === 'idle') return [];
  return [row({ id: `assistant-${last.turn}`, live: true })];
}

function queued({ key, text }, index) {
  return row({ id: `queued-${key ?? index}`, role: 'user', text, note: 'Waiting for its turn', tone: 'waiting' });
}

function unsent({ key, text, state, why }) {
  const failed = state === 'failed';
  return row({
    id: `unsent-${key}`,
    key,
    role: 'user',
    text,
    note: failed ? `Not sent: ${why}` : { waiting: 'Not sent yet', accepted: 'Sent' }[state] ?? 'Sending…',
    tone: failed ? 'bad' : 'waiting',
    actions: failed,
  });
}

function row(parts) {
  return { key: null, role: 'assistant', text: '', note: '', tone: '', live: false, actions: false, ...parts };
}
