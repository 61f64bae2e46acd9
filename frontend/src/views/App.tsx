// The whole page: the sidebar, the conversation, the status line and the text box.

import { useCallback, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks';

import { phase } from '../log/conversation';
import { fileName, markdown } from '../log/transcript';
import type { Page } from '../page';
import { WordsContext } from '../words/words';
import { Announcer } from './Announcer';
import { Composer, type ComposerHandle } from './Composer';
import { IconButton } from './controls';
import { AutoScroll } from './autoScroll';
import { Icon } from './icons';
import { command } from './keys';
import { ShareDialog } from './ShareDialog';
import { Shortcuts } from './Shortcuts';
import { Sidebar } from './Sidebar';
import { StatusLine } from './StatusLine';
import { Transcript } from './Transcript';
import { Welcome } from './Welcome';
import { Wordmark } from './Wordmark';

export function App({ page }: { page: Page }) {
  const paint = usePaint(page);
  const autoScroll = useMemo(() => new AutoScroll(paint), [paint]);
  const composer = useRef<ComposerHandle>(null);
  const [edited, setEdited] = useState<number | null>(null);
  const [isListShown, setListShown] = useState(false);
  const [isHelping, setHelping] = useState(false);
  const [isSharing, setSharing] = useState(false);
  const { words, chat } = page;
  const { conversation, session, connection } = chat;
  const steps = chat.steps;
  const isRunning = phase(conversation) !== 'idle';
  const isEmpty = steps.length === 0 && conversation.queued.length === 0 && page.outbox.of(session).length === 0;
  const send = useCallback(
    (text: string) => {
      page.chat.ask(text);
      autoScroll.toBottom();
    },
    [page, autoScroll],
  );
  const isFromBox = useRef(false);
  const edit = useCallback((turn: number | null) => {
    setEdited(turn);
    // If the edit began in the text box, the focus returns there.
    if (turn === null && isFromBox.current) composer.current?.focus();
    isFromBox.current = false;
  }, []);
  const stop = () => void page.stop();
  const { models } = page;
  const choice = models.isChoice
    ? { all: models.offered.map(({ name }) => name), chosen: page.model ?? models.default ?? '' }
    : null;
  useLayoutEffect(() => {
    setEdited(null);
    setSharing(false);
    autoScroll.toBottom();
  }, [chat]);
  const isNarrow = useNarrow();
  const isListOver = isNarrow && isListShown;
  // The search box is focused after the render that shows the sidebar.
  const isSearchWanted = useRef(false);
  useLayoutEffect(() => {
    const box = document.getElementById('search');
    if (!isSearchWanted.current || box === null) return;
    isSearchWanted.current = false;
    box.focus();
  });
  const leaveList = () => {
    setListShown(false);
    document.querySelector<HTMLElement>('[aria-controls=sidebar]')?.focus();
  };
  useKeys(
    {
      newChat: () => page.open(null),
      search: () => {
        isSearchWanted.current = true;
        showList(true);
      },
      focus: () => composer.current?.focus(),
      list: () => setHelping(true),
    },
    isListOver ? leaveList : isRunning && !isHelping && !chat.isShared ? stop : null,
  );
  const showList = (isShown: boolean) => {
    setListShown(isShown);
    page.prefer({ sidebar: isShown });
  };
  const isOpen = isNarrow ? isListShown : page.preferences.sidebar;
  const editLast = () => {
    const last = steps.at(-1);
    if (last === undefined) return;
    setEdited(last.turn);
    isFromBox.current = true;
  };
  const save = () =>
    download(fileName(conversation.title), markdown(conversation.title || words.untitled, steps, words));
  return (
    <WordsContext.Provider value={words}>
      <div class={`page${isOpen ? ' with-list' : ''}`}>
        {isOpen && <Sidebar page={page} onChosen={() => setListShown(false)} onShortcuts={() => setHelping(true)} />}
        {isOpen && <div class="shade" onClick={() => setListShown(false)} />}
        <header>
          <button
            type="button"
            class="icon-button"
            aria-expanded={isOpen}
            aria-controls="sidebar"
            aria-label={isOpen ? words.hideList : words.showList}
            title={isOpen ? words.hideList : words.showList}
            onClick={() => showList(!isOpen)}
          >
            <Icon name="menu" />
          </button>
          <h1 dir="auto">{conversation.title || <Wordmark />}</h1>
          {/* With a choice of models, each answer names its own. */}
          {conversation.model !== null && !page.models.isChoice && (
            <p class="model" id="model">
              {conversation.model}
            </p>
          )}
          {steps.length > 0 && !chat.isShared && (
            <IconButton icon="share" label={words.share} onClick={() => setSharing(true)} />
          )}
          {steps.length > 0 && <IconButton icon="download" label={words.exportMarkdown} onClick={save} />}
        </header>
        <main ref={autoScroll.attach} id="scroller" tabIndex={-1}>
          <div class="column">
            {conversation.model === 'demo' && <DemoNote page={page} />}
            {isEmpty && session === null ? (
              <Welcome onChosen={send} />
            ) : (
              <Transcript
                page={page}
                autoScroll={autoScroll}
                steps={steps}
                edited={edited}
                onEdit={edit}
                onTakeBack={(text) => composer.current?.giveBack(text)}
              />
            )}
          </div>
        </main>
        <footer>
          <div class="column">
            {autoScroll.isFar && (
              <button type="button" class="newest" onClick={autoScroll.toBottom}>
                <Icon name="down" />
                {words.newest}
              </button>
            )}
            {page.failure !== '' && (
              <p class="failure" role="alert">
                <span>{page.failure}</span>
                <IconButton icon="close" label={words.close} onClick={() => page.showFailure('')} />
              </p>
            )}
            <StatusLine page={page} />
            {chat.isShared ? (
              <p class="shared">{words.sharedWithYou}</p>
            ) : (
              <Composer
                chat={chat}
                session={session}
                handle={composer}
                isClosed={connection?.kind === 'gone'}
                isRunning={isRunning}
                isStopping={page.isStopping}
                onSend={send}
                onStop={stop}
                onEditLast={editLast}
                models={choice}
                onModel={(model) => page.prefer({ model })}
              />
            )}
          </div>
        </footer>
        <Announcer page={page} />
        {isSharing && session !== null && (
          <ShareDialog page={page} session={session} onClose={() => setSharing(false)} />
        )}
        {isHelping && <Shortcuts onClose={() => setHelping(false)} />}
      </div>
    </WordsContext.Provider>
  );
}

function DemoNote({ page }: { page: Page }) {
  const { words } = page;
  return (
    <p class="demo">
      {words.demo} {words.demoMore(['OPENAI_API_KEY', 'OPENAI_BASE_URL'])}
    </p>
  );
}

/** Whether the sidebar has no room beside the conversation and is shown over it (style/list.css). */
function useNarrow(): boolean {
  const query = useMemo(() => matchMedia('(max-width: 50rem)'), []);
  const [isNarrow, setNarrow] = useState(query.matches);
  useLayoutEffect(() => {
    const changed = () => setNarrow(query.matches);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, [query]);
  return isNarrow;
}

function usePaint(page: Page): () => void {
  const [, paint] = useReducer<number, void>((count) => count + 1, 0);
  useLayoutEffect(() => page.onPaint(paint), [page]);
  return paint;
}

function useKeys(
  commands: Record<NonNullable<ReturnType<typeof command>>, () => void>,
  escape: (() => void) | null,
): void {
  useLayoutEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const asked = command(event);
      if (asked !== null) {
        event.preventDefault();
        commands[asked]();
      } else if (
        event.key === 'Escape' &&
        !event.isComposing &&
        event.keyCode !== 229 &&
        document.querySelector('dialog[open]') === null
      ) {
        escape?.();
      }
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  });
}

function download(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: 'text/markdown;charset=utf-8' }));
  const link = Object.assign(document.createElement('a'), { href: address, download: name });
  link.click();
  // Not at once: the browser begins to read the blob after this function returns.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
