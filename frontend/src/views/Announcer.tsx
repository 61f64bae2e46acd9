// What a screen reader is told: the turning points, never every token.

import { useEffect, useRef, useState } from 'preact/hooks';

import { phase } from '../log/conversation';
import type { Page } from '../page';
import { announcement, type Moment } from '../words/status';
import { useWords } from '../words/words';

const UNKNOWN: Moment = { isLost: null, phase: null };

export function Announcer({ page }: { page: Page }) {
  const words = useWords();
  const [said, say] = useState('');
  const before = useRef<{ chat: object; moment: Moment }>({ chat: page.chat, moment: UNKNOWN });
  useEffect(() => {
    const { chat } = page;
    const last = before.current.chat === chat ? before.current.moment : UNKNOWN;
    const now = momentOf(page, last);
    const text = announcement(words, last, now, chat.conversation);
    before.current = { chat, moment: now };
    if (text !== null) say(text);
  });
  return <p class="unseen" id="announcer" role="status" aria-live="polite">{said}</p>;
}

function momentOf({ chat }: Page, last: Moment): Moment {
  const kind = chat.connection?.kind;
  const isLost = kind === 'reconnecting' || kind === 'waiting' ? true : kind === 'live' ? false : last.isLost;
  // What was there before the page looked is not news.
  return { isLost, phase: chat.conversation.cursor === null ? last.phase : phase(chat.conversation) };
}
