// What is being typed, kept per session until it is sent. This tab's own words come first; a tab that has none, since it is
// new or the browser was closed, is given what was typed last in any.

import { sharedStore, tabStore } from './webStorage';

export interface Drafts {
  of(session: string | null): string;
  /** False where it would not outlive this tab. */
  keep(session: string | null, text: string): boolean;
}

export const drafts: Drafts = {
  of(session) {
    const name = nameOf(session);
    const kept = tabStore.get(name) ?? sharedStore.get(name);
    return typeof kept === 'string' ? kept : '';
  },
  keep(session, text) {
    const name = nameOf(session);
    if (text === '') {
      // An emptied box is this tab's word too: another tab's draft must not come back into it.
      sharedStore.remove(name);
      tabStore.set(name, '');
      return true;
    }
    tabStore.set(name, text);
    return sharedStore.set(name, text);
  },
};

function nameOf(session: string | null): string {
  return `draft.${session ?? 'new'}`;
}
