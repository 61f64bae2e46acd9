// The sidebar: the list of conversations, the theme and the language.

import { useLayoutEffect, useRef, useState } from 'preact/hooks';

import { withoutBidi } from '../answer/bidi';
import type { Theme } from '../storage/preferences';
import type { Page } from '../page';
import type { Listed } from '../transport/api';
import { reason } from '../words/status';
import { type Language, useWords, WORDS } from '../words/words';
import { Dialog, IconButton } from './controls';
import { Icon } from './icons';

interface SidebarProps {
  page: Page;
  onChosen: () => void;
  onShortcuts: () => void;
}

export function Sidebar({ page, onChosen, onShortcuts }: SidebarProps) {
  const words = useWords();
  const [wanted, setWanted] = useState('');
  const [removing, setRemoving] = useState<Listed | null>(null);
  const { sessions } = page;
  const found = matching(sessions.listed, wanted);
  return (
    <nav class="sidebar" id="sidebar" aria-label={words.conversations}>
      <a class="new-chat" href="#" onClick={onChosen}>
        <Icon name="plus" />
        {words.newChat}
      </a>
      <label class="search">
        <Icon name="search" />
        <input
          id="search"
          type="search"
          placeholder={words.search}
          aria-label={words.search}
          value={wanted}
          onInput={({ currentTarget }) => setWanted(currentTarget.value)}
        />
      </label>
      <ul class="sessions" id="sessions">
        {found.map((session) => (
          <Item
            key={session.session_id}
            session={session}
            isCurrent={session.session_id === page.chat.session}
            isUnread={sessions.unread.has(session.session_id)}
            onChosen={onChosen}
            onRename={(title) => void page.rename(session.session_id, title)}
            onRemove={() => setRemoving(session)}
          />
        ))}
      </ul>
      <ListNote page={page} wanted={wanted} isEmpty={found.length === 0} />
      <Settings page={page} onShortcuts={onShortcuts} />
      {removing !== null && (
        <RemoveDialog
          title={removing.title || words.untitled}
          onClose={() => setRemoving(null)}
          onRemove={() => {
            setRemoving(null);
            void page.remove(removing.session_id);
          }}
        />
      )}
    </nav>
  );
}

/** The sessions whose title contains each word of `wanted`. */
export function matching(listed: readonly Listed[], wanted: string): readonly Listed[] {
  const words = wanted
    .toLocaleLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  return listed.filter(({ title }) => words.every((word) => title.toLocaleLowerCase().includes(word)));
}

function ListNote({ page, wanted, isEmpty }: { page: Page; wanted: string; isEmpty: boolean }) {
  const words = useWords();
  const { failure, isLoaded } = page.sessions;
  if (failure !== null) {
    return (
      <p class="list-note" role="alert">
        {words.listFailed(reason(words, failure))}
      </p>
    );
  }
  if (!isEmpty || !isLoaded) return null;
  return <p class="list-note">{wanted.trim() === '' ? words.noneYet : words.noneFound(wanted.trim())}</p>;
}

interface ItemProps {
  session: Listed;
  isCurrent: boolean;
  isUnread: boolean;
  onChosen: () => void;
  onRename: (title: string) => void;
  onRemove: () => void;
}

function Item({ session, isCurrent, isUnread, onChosen, onRename, onRemove }: ItemProps) {
  const words = useWords();
  const [isRenamed, setRenamed] = useState(false);
  const item = useRef<HTMLLIElement>(null);
  const isByKey = useRef(false);
  // When the name box disappears, the focus would be lost: it returns to the item, unless the reader clicked elsewhere.
  useLayoutEffect(() => {
    if (isByKey.current) item.current?.querySelector('button')?.focus();
    isByKey.current = false;
  }, [isRenamed]);
  const title = session.title || words.untitled;
  const isRunning = session.state !== 'idle';
  if (isRenamed) {
    const done = (named: string | null, byKey: boolean) => {
      isByKey.current = byKey;
      setRenamed(false);
      if (named !== null && named.trim() !== '' && named.trim() !== session.title) onRename(named.trim());
    };
    return (
      <li class="session">
        <NameBox title={session.title} onDone={done} />
      </li>
    );
  }
  return (
    <li ref={item} class={`session${isCurrent ? ' current' : ''}`}>
      <a
        href={`#${encodeURIComponent(session.session_id)}`}
        dir="auto"
        title={title}
        aria-current={isCurrent ? 'page' : undefined}
        onClick={onChosen}
      >
        {title}
      </a>
      {isRunning && <span class="mark running" role="img" aria-label={words.running} title={words.running} />}
      {!isRunning && isUnread && <span class="mark unread" role="img" aria-label={words.unread} title={words.unread} />}
      <span class="session-actions">
        <IconButton icon="edit" label={`${words.rename}: ${title}`} onClick={() => setRenamed(true)} />
        <IconButton icon="trash" label={`${words.remove}: ${title}`} onClick={onRemove} />
      </span>
    </li>
  );
}

function NameBox({ title, onDone }: { title: string; onDone: (title: string | null, byKey: boolean) => void }) {
  const words = useWords();
  const isOver = useRef(false);
  // A box that is removed fires `blur`, too, which must not call `onDone` twice.
  const once = (named: string | null, byKey: boolean) => {
    if (isOver.current) return;
    isOver.current = true;
    onDone(named, byKey);
  };
  return (
    <input
      class="name-box"
      aria-label={words.renameTo}
      defaultValue={title}
      maxLength={200}
      ref={(box) => {
        if (box !== null && document.activeElement !== box && !isOver.current) {
          box.focus();
          box.select();
        }
      }}
      onBlur={({ currentTarget }) => once(currentTarget.value, false)}
      onKeyDown={(event) => {
        if (event.isComposing || event.keyCode === 229) return;
        if (event.key === 'Enter') {
          // Without this, the key press would also activate the button that gets the focus next.
          event.preventDefault();
          once(event.currentTarget.value, true);
        }
        if (event.key === 'Escape') {
          event.stopPropagation();
          once(null, true);
        }
      }}
    />
  );
}

function RemoveDialog({ title, onClose, onRemove }: { title: string; onClose: () => void; onRemove: () => void }) {
  const words = useWords();
  return (
    <Dialog label={words.remove} onClose={onClose}>
      <p dir="auto">{words.removeSure(withoutBidi(title))}</p>
      <p class="actions shown">
        <button type="button" onClick={onClose}>
          {words.cancel}
        </button>
        <button type="button" class="danger" onClick={onRemove}>
          {words.remove}
        </button>
      </p>
    </Dialog>
  );
}

function Settings({ page, onShortcuts }: { page: Page; onShortcuts: () => void }) {
  const words = useWords();
  const { theme, language } = page.preferences;
  return (
    <div class="settings">
      <label class="choice" title={words.language}>
        <Icon name="globe" />
        <select
          aria-label={words.language}
          value={language}
          onChange={({ currentTarget }) => page.prefer({ language: currentTarget.value as Language | 'auto' })}
        >
          <option value="auto">{words.automatic}</option>
          {Object.entries(WORDS).map(([value, { name, tag }]) => (
            <option key={value} value={value} lang={tag}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label class="choice" title={words.theme}>
        <Icon name="contrast" />
        <select
          aria-label={words.theme}
          value={theme}
          onChange={({ currentTarget }) => page.prefer({ theme: currentTarget.value as Theme })}
        >
          <option value="auto">{words.automatic}</option>
          <option value="light">{words.light}</option>
          <option value="dark">{words.dark}</option>
        </select>
      </label>
      <IconButton icon="keyboard" label={words.shortcuts} onClick={onShortcuts} />
    </div>
  );
}
