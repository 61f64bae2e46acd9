// The status line: the state of the connection and of the running turn.

import { phase } from '../log/conversation';
import type { Page } from '../page';
import { status } from '../words/status';
import { useWords } from '../words/words';

export function StatusLine({ page }: { page: Page }) {
  const words = useWords();
  const { connection, conversation, resumedAt } = page.chat;
  const kind = connection?.kind ?? 'none';
  const isBroken = kind === 'waiting' || kind === 'reconnecting';
  return (
    <p class="line">
      <span id="status" data-connection={kind} data-phase={phase(conversation)}>
        {status(words, { connection, conversation, resumedAt, isOnline: navigator.onLine })}
      </span>
      {isBroken && (
        <button type="button" onClick={() => page.chat.wake()}>
          {words.reconnectNow}
        </button>
      )}
    </p>
  );
}
