// The draft of each session, kept until it is sent. This tab's own draft comes first. A tab without one, because it is
// new or the browser was closed, gets the draft that was typed last in any tab.

import { sharedStore, tabStore } from './webStorage';

export interface Drafts {
  of(session: string | null): string;
  /** False if the draft will not outlive this tab. */
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
      // An empty draft is stored, too, so that another tab's draft does not appear in an emptied box.
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
