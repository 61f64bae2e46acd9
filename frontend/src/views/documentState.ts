// The document's state outside the body: the title and the icon of the tab, the language and the theme.

import { withoutBidi } from '../answer/bidi';
import { type Phase, phase } from '../log/conversation';
import type { Page } from '../page';
import type { Words } from '../words/words';

const NAME = 'midsentence';

/** The outcome of an answer that ended while the page was hidden. */
type News = 'done' | 'failed' | null;

/** Keeps the tab title, the icon, the language and the theme in step with the page, whether it is visible or hidden. */
export function syncDocument(page: Page): void {
  let before: Phase = 'idle';
  let news: News = null;
  const update = () => {
    const { conversation } = page.chat;
    const now = phase(conversation);
    const isHidden = document.visibilityState === 'hidden';
    if (!isHidden || now !== 'idle') news = null;
    else if (before !== 'idle') news = conversation.messages.at(-1)?.end === 'error' ? 'failed' : 'done';
    before = now;
    const { words } = page;
    write(titleOf(words, conversation.title, isHidden && now !== 'idle' ? 'answering' : news));
    // A visible page needs no mark, and a browser draws each new icon, however fast they change.
    icon(!isHidden || (now === 'idle' && news === null) ? '' : now === 'idle' ? 'done' : 'busy');
    root('lang', words.tag);
    root('data-theme', page.preferences.theme);
  };
  page.onChange(update);
  document.addEventListener('visibilitychange', update);
  update();
}

export function titleOf(words: Words, title: string, mark: News | 'answering'): string {
  // A bidi control in a title would reorder the text behind it.
  return `${mark === null ? '' : words.hidden[mark]}${title === '' ? NAME : `${withoutBidi(title)} · ${NAME}`}`;
}

function write(title: string): void {
  // Each assignment costs a layout of the tab strip, and some browser extensions record it as a visit.
  if (document.title !== title) document.title = title;
}

/** Sets an attribute of the root element, only if it differs: each write recalculates the style of the whole page. */
function root(name: string, value: string): void {
  const { documentElement } = document;
  if (documentElement.getAttribute(name) !== value) documentElement.setAttribute(name, value);
}

function icon(kind: '' | 'busy' | 'done'): void {
  const link = document.querySelector<HTMLLinkElement>('link[rel=icon]');
  const address = `${import.meta.env.BASE_URL}icon${kind && `-${kind}`}.svg`;
  if (link !== null && link.getAttribute('href') !== address) link.setAttribute('href', address);
}
