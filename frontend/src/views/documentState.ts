// What of the page stands outside of its body: the title and the icon of its tab, its language and its colours.

import { withoutBidi } from '../answer/bidi';
import { type Phase, phase } from '../log/conversation';
import type { Page } from '../page';
import type { Words } from '../words/words';

const NAME = 'midsentence';

/** What became of an answer while nobody looked. */
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
    // In front the page speaks for itself, and a browser draws each new icon anew, however fast they come.
    icon(!isHidden || (now === 'idle' && news === null) ? '' : now === 'idle' ? 'done' : 'busy');
    root('lang', words.tag);
    root('data-theme', page.preferences.theme);
  };
  page.onChange(update);
  document.addEventListener('visibilitychange', update);
  update();
}

export function titleOf(words: Words, title: string, mark: News | 'answering'): string {
  // What would turn the rest of a line around is for no title: it would reach what stands behind it.
  return `${mark === null ? '' : words.hidden[mark]}${title === '' ? NAME : `${withoutBidi(title)} · ${NAME}`}`;
}

function write(title: string): void {
  // Each assignment is an entry of the history to some browsers' extensions, and costs a layout of the tab strip.
  if (document.title !== title) document.title = title;
}

/** Written only where it says something else: the style of all that is drawn depends on it. */
function root(name: string, value: string): void {
  const { documentElement } = document;
  if (documentElement.getAttribute(name) !== value) documentElement.setAttribute(name, value);
}

function icon(kind: '' | 'busy' | 'done'): void {
  const link = document.querySelector<HTMLLinkElement>('link[rel=icon]');
  const address = `${import.meta.env.BASE_URL}icon${kind && `-${kind}`}.svg`;
  if (link !== null && link.getAttribute('href') !== address) link.setAttribute('href', address);
}
