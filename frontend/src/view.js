// The rows of rows.js as elements. Only nodes and their data are ever set: text of a model can never become markup.

export class View {
  #list;
  #drawn = new Map();

  constructor(list) {
    this.#list = list;
  }

  clear() {
    this.#drawn.clear();
    this.#list.replaceChildren();
  }

  paint(rows) {
    const wanted = new Set(rows.map((row) => row.id));
    for (const [id, drawn] of this.#drawn) {
      if (wanted.has(id)) continue;
      drawn.element.remove();
      this.#drawn.delete(id);
    }
    rows.forEach((row, at) => this.#place(this.#draw(row), at));
  }

  #draw(row) {
    const drawn = this.#drawn.get(row.id) ?? new Row(row);
    this.#drawn.set(row.id, drawn);
    drawn.show(row);
    return drawn.element;
  }

  /** Moving an element loses the selection in it, so one that stands right is not touched. */
  #place(element, at) {
    const there = this.#list.children[at] ?? null;
    if (there !== element) this.#list.insertBefore(element, there);
  }
}

class Row {
  element = make('li');
  #text = document.createTextNode('');
  #note = make('p', 'note');
  #actions = null;
  #shown = {};

  constructor({ id, role }) {
    this.element.classList.add('row', role);
    this.element.dataset.row = id;
    const body = make('div', 'text');
    body.dir = 'auto';
    body.append(this.#text);
    this.element.append(make('h2', 'who', role === 'user' ? 'You' : 'Assistant'), body, this.#note);
  }

  show(row) {
    const before = this.#shown;
    this.#shown = row;
    if (row.text !== before.text) this.#write(row.text);
    if (row.note !== before.note) this.#note.textContent = row.note;
    this.#note.hidden = row.note === '';
    this.element.classList.toggle('live', row.live);
    this.element.dataset.tone = row.tone;
    if (row.actions !== (before.actions ?? false)) this.#offer(row);
  }

  /** What grows is appended: replaced text would take the reader's selection with it. */
  #write(text) {
    const old = this.#text.data;
    if (text.startsWith(old)) this.#text.appendData(text.slice(old.length));
    else this.#text.data = text;
  }

  #offer({ actions, key }) {
    this.#actions?.remove();
    this.#actions = null;
    if (!actions) return;
    this.#actions = make('p', 'actions');
    this.#actions.append(button('Try again', 'retry', key), button('Take back', 'take-back', key));
    this.element.append(this.#actions);
  }
}

function button(label, action, key) {
  const element = make('button', '', label);
  element.type = 'button';
  element.dataset.action = action;
  element.dataset.key = key;
  return element;
}

export function make(tag, className = '', text = '') {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  if (text !== '') element.textContent = text;
  return element;
}
