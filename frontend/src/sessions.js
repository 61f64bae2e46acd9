// The list of the reader's own conversations. A convenience: that it fails must not disturb the one that is open.

import { mySessions } from './api.js';
import { make } from './view.js';

const UNTITLED = 'Untitled';
const GATHER_MS = 200;

export class Sessions {
  #list;
  #note;
  #current = null;
  #timer;
  #newest = 0;

  constructor(list, note) {
    this.#list = list;
    this.#note = note;
  }

  set current(session) {
    this.#current = session;
    for (const link of this.#list.querySelectorAll('a')) mark(link, session);
  }

  /** Several reasons to look come together, at the end of a turn for one. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#load(), GATHER_MS);
  }

  async #load() {
    this.#newest += 1;
    const round = this.#newest;
    try {
      const sessions = await mySessions();
      if (round === this.#newest) this.#show(sessions);
    } catch (error) {
      if (round === this.#newest) this.#say(`The list could not be loaded: ${error.message}`);
    }
  }

  #show(sessions) {
    this.#list.replaceChildren(...sessions.map((session) => this.#item(session)));
    this.#say(sessions.length === 0 ? 'None yet.' : '');
  }

  #item({ session_id: id, title }) {
    const link = make('a', '', title || UNTITLED);
    link.href = `/#${encodeURIComponent(id)}`;
    link.dir = 'auto';
    mark(link, this.#current);
    const item = make('li');
    item.append(link);
    return item;
  }

  #say(text) {
    this.#note.textContent = text;
    this.#note.hidden = text === '';
  }
}

function mark(link, session) {
  if (session !== null && link.hash === `#${encodeURIComponent(session)}`) link.setAttribute('aria-current', 'page');
  else link.removeAttribute('aria-current');
}
