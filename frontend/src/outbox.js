// Messages on their way to the server, in the order in which they were typed.
//
// One is kept until the log shows it, not merely until its 202: a crash of Redis can take a 202 back (docs/protocol.md 4.2),
// and then only this tab still has the text. Sending again is always safe, for the key stays the same.

import { ASK_PATH, Refusal, messagesPath, newKey, submit } from './api.js';
import { lastTurn } from './conversation.js';
import { forget, recall, remember } from './storage.js';

const NEW_CHAT = 'new';

export class Outbox {
  #session;
  #entries;
  #busy = false;
  #changed;
  #accepted;

  /** `changed()` asks for a paint; `accepted({session, turn, text})` tells of a 202. */
  constructor(session, { changed, accepted }) {
    this.#session = session;
    this.#changed = changed;
    this.#accepted = accepted;
    this.#entries = recall(this.#name) ?? [];
    void this.#pump();
  }

  get entries() {
    return this.#entries;
  }

  get #name() {
    return `outbox.${this.#session ?? NEW_CHAT}`;
  }

  add(text, conversation) {
    // The path is chosen when it is first sent: a second message typed on a new chat waits for the session of the first.
    const entry = { key: newKey(), text, path: null, state: 'waiting', turn: null, after: lastTurn(conversation), why: '' };
    this.#save([...this.#entries, entry]);
    void this.#pump();
  }

  retry(key) {
    this.#change(key, { state: 'waiting', why: '' });
    void this.#pump();
  }

  /** Take a failed message out, and hand its text back to be edited. */
  takeBack(key) {
    const entry = this.#entries.find((one) => one.key === key);
    this.#save(this.#entries.filter((one) => one !== entry));
    void this.#pump();
    return entry?.text ?? '';
  }

  /** Drop what the log holds now. */
  settle(conversation) {
    const left = this.#entries.filter((entry) => !inLog(entry, conversation));
    if (left.length === this.#entries.length) return;
    this.#save(left);
    void this.#pump();
  }

  /** Send again what was accepted and is nonetheless neither in the log nor in the queue. */
  repeatUnknown(conversation) {
    this.#repeat((entry) => !known(entry, conversation));
  }

  /** The whole session is unknown: if this tab's message began it, begin it again. False where there is none. */
  beginAgain() {
    return this.#repeat((entry) => entry.path === ASK_PATH && !entry.begunAgain, { begunAgain: true });
  }

  #repeat(isLost, mark = {}) {
    const lost = this.#entries.filter((entry) => entry.state === 'accepted' && isLost(entry));
    for (const { key } of lost) this.#change(key, { state: 'waiting', ...mark });
    void this.#pump();
    return lost.length > 0;
  }

  /** One at a time: two POSTs on the way together may arrive in either order. A failed one holds back those behind it. */
  async #pump() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let entry = this.#next(); entry !== undefined; entry = this.#next()) await this.#send(entry);
    } finally {
      this.#busy = false;
    }
  }

  #next() {
    const first = this.#entries.find((entry) => entry.state !== 'accepted');
    return first?.state === 'failed' ? undefined : first;
  }

  async #send({ key, text, path, turn: before, begunAgain }) {
    const to = path ?? (this.#session === null ? ASK_PATH : messagesPath(this.#session));
    this.#change(key, { state: 'sending', path: to });
    try {
      const { session_id: session, turn } = await submit(to, text, key);
      this.#moveTo(session);
      this.#change(key, { state: 'accepted', turn });
      this.#accepted({ session, turn, text });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // One that was accepted before is repeated after every attach, so it need not trouble the reader yet.
      const later = before !== null && !begunAgain && error.isPassing;
      this.#change(key, later ? { state: 'accepted' } : { state: 'failed', why: error.message });
    }
  }

  #moveTo(session) {
    if (session === this.#session) return;
    forget(this.#name);
    this.#session = session;
  }

  #change(key, parts) {
    this.#save(this.#entries.map((entry) => (entry.key === key ? { ...entry, ...parts } : entry)));
  }

  #save(entries) {
    this.#entries = entries;
    if (entries.length === 0) forget(this.#name);
    else remember(this.#name, entries);
    this.#changed();
  }
}

export function known(entry, conversation) {
  return conversation.queued.some((waiting) => waiting.key === entry.key) || inLog(entry, conversation);
}

function inLog(entry, { messages }) {
  return messages.some((message) => message.role === 'user' && message.text === entry.text && isTurnOf(entry, message));
}

/** Events carry no key. Without a 202 that named the turn, a later message of the same text is this one, whose answer was lost. */
function isTurnOf(entry, { turn }) {
  return entry.turn === null ? entry.path !== null && turn > entry.after : turn === entry.turn;
}
