// Wires the page: the address names the session, the stream fills the conversation, one paint a frame shows it.

import { begun, fresh, phase, take } from './conversation.js';
import { Composer } from './composer.js';
import { place } from './cursor.js';
import { Follower } from './follow.js';
import { Outbox } from './outbox.js';
import { rows } from './rows.js';
import { Sessions } from './sessions.js';
import { Stream } from './stream.js';
import { View } from './view.js';
import { announcement, status } from './words.js';

// A message can be moving from the queue into the log while a reader attaches; only one still missing then is lost.
const LOOK_FOR_LOST_MS = 1_000;

const $ = (id) => document.getElementById(id);

class Page {
  #session = null;
  #conversation = fresh;
  #connection = null;
  #stream = null;
  #outbox = null;
  #attached = false;
  #frame = 0;
  #lookForLost;
  #said = { connection: null, phase: null };
  #view = new View($('conversation'));
  #follower = new Follower($('scroller'), $('newest'));
  #sessions = new Sessions($('sessions'), $('sessions-note'));
  #composer = new Composer($('ask'), (text) => this.#ask(text));

  start() {
    addEventListener('hashchange', () => this.#open(addressed()));
    addEventListener('online', () => this.#stream?.wake());
    // A page that comes back from the browser's cache had its stream closed by `pagehide`.
    addEventListener('pageshow', (event) => event.persisted && this.#stream?.open());
    addEventListener('pagehide', () => this.#stream?.close());
    document.addEventListener('visibilitychange', () => this.#seen());
    $('reconnect').addEventListener('click', () => this.#stream?.wake());
    $('conversation').addEventListener('click', ({ target }) => this.#act(target.dataset));
    $('menu').addEventListener('click', () => showMenu($('menu').ariaExpanded !== 'true'));
    this.#open(addressed());
  }

  #open(session) {
    this.#leave();
    this.#session = session;
    this.#conversation = fresh;
    this.#view.clear();
    this.#composer.open(session);
    const outbox = new Outbox(session, {
      changed: () => this.#schedule(),
      accepted: (receipt) => this.#accepted(outbox, receipt),
    });
    this.#outbox = outbox;
    this.#sessions.current = session;
    this.#sessions.refresh();
    showMenu(false);
    this.#follower.toBottom();
    if (session !== null) this.#attach();
    this.#schedule();
  }

  /** An outbox that is left behind still finishes what it is sending. */
  #leave() {
    this.#stream?.close();
    this.#stream = null;
    this.#connection = null;
    this.#said = { connection: null, phase: null };
    clearTimeout(this.#lookForLost);
  }

  #attach() {
    this.#stream?.close();
    const stream = new Stream(this.#session, {
      cursor: () => this.#conversation.cursor,
      heard: (event) => this.#heard(event),
      said: (connection) => stream === this.#stream && this.#connected(connection),
    });
    this.#stream = stream;
    stream.open();
  }

  #connected(connection) {
    this.#connection = connection;
    // What a connection said that broke at once is no ground for repeating anything.
    clearTimeout(this.#lookForLost);
    this.#attached = connection.kind === 'live';
    if (this.#attached) this.#sessions.refresh();
    if (connection.kind === 'gone') this.#outbox.beginAgain();
    this.#schedule();
  }

  #heard(event) {
    if (event.event === 'ping') return;
    if (event.event !== 'state' && event.event !== 'snapshot') {
      const where = place(this.#conversation.cursor, event.id);
      if (where === 'seen') return;
      if (where === 'hole') return this.#startOver();
    }
    const before = this.#conversation;
    this.#conversation = take(before, event);
    this.#after(event, before);
    this.#schedule();
  }

  /** Without a cursor the server answers with the whole conversation. */
  #startOver() {
    this.#conversation = { ...this.#conversation, cursor: null };
    this.#stream.startOver();
  }

  #after({ event }, before) {
    // A `state` says as much: after it the log is known to hold what the page shows, see `begun`.
    if (event === 'snapshot' || event === 'message' || event === 'state') this.#outbox.settle(this.#conversation);
    if (event === 'end' || this.#conversation.title !== before.title) this.#sessions.refresh();
    if (event === 'state' && this.#attached) this.#afterAttach();
  }

  #afterAttach() {
    this.#attached = false;
    clearTimeout(this.#lookForLost);
    this.#lookForLost = setTimeout(() => this.#outbox.repeatUnknown(this.#conversation), LOOK_FOR_LOST_MS);
  }

  #ask(text) {
    this.#outbox.add(text, this.#conversation);
    this.#follower.toBottom();
  }

  #accepted(outbox, receipt) {
    this.#sessions.refresh();
    if (outbox !== this.#outbox) return;
    outbox.settle(this.#conversation);
    if (receipt.session !== this.#session) this.#become(receipt);
    else if (this.#connection?.kind === 'gone') this.#attach();
  }

  /** The new chat has its session: the address names it from now on, so that a reload or another tab finds it. */
  #become({ session, turn, text }) {
    history.pushState(null, '', `/#${encodeURIComponent(session)}`);
    this.#session = session;
    this.#conversation = begun(turn, text);
    this.#composer.rename(session);
    this.#sessions.current = session;
    this.#attach();
  }

  #act({ action, key }) {
    if (action === 'retry') this.#outbox.retry(key);
    if (action === 'take-back') this.#composer.giveBack(this.#outbox.takeBack(key));
  }

  #seen() {
    if (document.visibilityState !== 'visible') return;
    this.#stream?.wake();
    this.#sessions.refresh();
  }

  /** Tokens come faster than a screen is drawn. */
  #schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #paint() {
    const drawn = rows(this.#conversation, this.#outbox.entries);
    this.#view.paint(drawn);
    this.#follower.keep();
    this.#paintAround(drawn.length === 0);
    this.#announce();
  }

  #paintAround(isEmpty) {
    const { model, title } = this.#conversation;
    const kind = this.#connection?.kind ?? 'none';
    write($('status'), status(this.#connection, this.#conversation));
    $('status').dataset.connection = kind;
    $('status').dataset.phase = phase(this.#conversation);
    $('reconnect').hidden = kind !== 'waiting';
    $('welcome').hidden = !isEmpty || this.#session !== null;
    write($('model'), model === null ? '' : `Model: ${model}`);
    $('demo').hidden = model !== 'demo';
    document.title = title === '' ? 'midsentence' : `${title} · midsentence`;
    this.#composer.closed = kind === 'gone';
  }

  #announce() {
    const connection = this.#connection?.kind === 'waiting' ? 'reconnecting' : (this.#connection?.kind ?? null);
    // What was there before the page looked is not news.
    const now = { connection, phase: this.#conversation.cursor === null ? null : phase(this.#conversation) };
    const text = announcement(this.#said, now, this.#conversation);
    this.#said = now;
    if (text !== null) write($('announcer'), text);
  }
}

function addressed() {
  const fragment = location.hash.slice(1);
  if (fragment === '') return null;
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment;
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function showMenu(shown) {
  $('menu').ariaExpanded = String(shown);
  document.body.classList.toggle('menu', shown);
}

new Page().start();
