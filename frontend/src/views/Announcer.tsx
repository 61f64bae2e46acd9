// Announces changes of state to screen readers, but not each token.

import { useLayoutEffect, useState } from 'preact/hooks';

import { phase } from '../log/conversation';
import type { Page } from '../page';
import { announcement, type Moment } from '../words/status';

const UNKNOWN: Moment = { isLost: null, phase: null, takeover: null };

export function Announcer({ page }: { page: Page }) {
  const [announced, announce] = useState('');
  useLayoutEffect(() => {
    let before: { chat: object; moment: Moment } = { chat: page.chat, moment: UNKNOWN };
    // After each change, not each paint: an answer may begin and fail between two paints.
    return page.onChange(() => {
      const { chat, words } = page;
      const last = before.chat === chat ? before.moment : UNKNOWN;
      const now = momentOf(page, last);
      const text = announcement(words, last, now, chat.conversation);
      before = { chat, moment: now };
      if (text !== null) announce(text);
    });
  }, [page]);
  return (
    <p class="unseen" id="announcer" role="status" aria-live="polite">
      {announced}
    </p>
  );
}

function momentOf({ chat }: Page, last: Moment): Moment {
  const kind = chat.connection?.kind;
  const isLost = kind === 'reconnecting' || kind === 'waiting' ? true : kind === 'live' ? false : last.isLost;
  // The state that the page finds when it attaches is not announced.
  const { conversation } = chat;
  if (conversation.cursor === null) return { ...last, isLost };
  return { isLost, phase: phase(conversation), takeover: conversation.takeover };
}
