// The text box: what sends, what only ends a line, and the draft that outlives a reload.

import { forget, recall, remember } from './storage.js';

export class Composer {
  #text;
  #button;
  #send;
  #draft = '';

  constructor(form, send) {
    this.#text = form.querySelector('textarea');
    this.#button = form.querySelector('button');
    this.#send = send;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener('keydown', (event) => this.#key(event));
    this.#text.addEventListener('input', () => this.#keep());
  }

  /** Show the draft of a session, or of a new chat. */
  open(session) {
    this.#draft = `draft.${session ?? 'new'}`;
    this.#text.value = recall(this.#draft) ?? '';
    // On a phone, focus would raise the keyboard over what one came to read.
    if (matchMedia('(pointer: fine)').matches) this.#text.focus();
  }

  /** The new chat has become a session: what is being typed belongs to it now. */
  rename(session) {
    forget(this.#draft);
    this.#draft = `draft.${session}`;
    this.#keep();
  }

  giveBack(text) {
    this.#text.value = this.#text.value === '' ? text : `${text}\n${this.#text.value}`;
    this.#keep();
    this.#text.focus();
  }

  set closed(closed) {
    this.#button.disabled = closed;
  }

  #key(event) {
    if (event.key !== 'Enter' || event.shiftKey) return;
    // This Enter chooses a word in an input method. Safari ends the composition first, and says so by the key code alone.
    if (event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    if (!event.repeat) this.#submit();
  }

  #submit() {
    const text = this.#text.value.toWellFormed();
    if (text.trim() === '' || this.#button.disabled) return;
    this.#text.value = '';
    this.#keep();
    this.#send(text);
  }

  #keep() {
    if (this.#text.value === '') forget(this.#draft);
    else remember(this.#draft, this.#text.value);
  }
}
