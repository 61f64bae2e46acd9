// The dialog with the link to a shared session, which is valid until sharing is stopped.

import { useEffect, useState } from 'preact/hooks';

import type { Page } from '../page';
import { shareLink } from '../transport/address';
import { share, unshare } from '../transport/api';
import { useWords } from '../words/words';
import { CopyButton, Dialog, IconButton } from './controls';

interface ShareDialogProps {
  page: Page;
  session: string;
  onClose: () => void;
}

export function ShareDialog({ page, session, onClose }: ShareDialogProps) {
  const words = useWords();
  const [link, setLink] = useState('');
  useEffect(() => {
    const give = async () => setLink(shareLink(session, await share(session)));
    void page.attempt(words.share, give).then((isDone) => isDone || onClose());
  }, [session]);
  const takeBack = async () => {
    await page.attempt(words.unshare, () => unshare(session));
    onClose();
  };
  return (
    <Dialog label={words.share} onClose={onClose}>
      <div class="dialog-head">
        <h2>{words.share}</h2>
        <IconButton icon="close" label={words.close} onClick={onClose} />
      </div>
      <p>{words.shareMore}</p>
      <p class="share-link">
        <input
          readOnly
          aria-label={words.shareLink}
          value={link}
          onFocus={({ currentTarget }) => currentTarget.select()}
        />
        <CopyButton text={link} label={words.copy} />
      </p>
      <p class="actions shown">
        <button type="button" class="danger" disabled={link === ''} onClick={() => void takeBack()}>
          {words.unshare}
        </button>
      </p>
    </Dialog>
  );
}
