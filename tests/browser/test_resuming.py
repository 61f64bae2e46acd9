"""An answer that goes on where it was, whatever was cut, closed, killed or frozen: no word twice, none missing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import CDPSession, Page, Request, Route, expect

from tests.browser.chat import (
    ASKS,
    DONE,
    EVENTS,
    MESSAGES,
    Chat,
    Reader,
    Readers,
    keys_of,
    shows,
    stream_of,
    take_back,
)
from tests.conftest import running
from tests.support.cables import Cable
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs_chromium

SESSION: Final = "0aScriptedScriptedScript00"
ADDRESS: Final = f"/#{SESSION}"
WORDS: Final = ["one ", "two ", "two ", "three ", "four ", "断线 ", "👩‍👩‍👧‍👦 ", "eight"]
RESUMED: Final = re.compile(r"^Live · Resumed at \d{1,2}:\d\d:\d\d\s[AP]M, nothing lost · (Answering…|Done)$")

# The wait before the next try is random up to a ceiling that doubles; here it always is the ceiling.
LONGEST_WAITS: Final = "Math.random = () => 1;"
# Longer than any test has.
ENDLESS_WAITS: Final = "Math.random = () => 1000;"
BACK_ONLINE: Final = "addEventListener('online', () => { globalThis.backAt = performance.now(); });"
HIDE: Final = """(state) => {
  Object.defineProperty(document, 'visibilityState', { get: () => state, configurable: true });
  Object.defineProperty(document, 'hidden', { get: () => state === 'hidden', configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two servers, of which a test may kill the first."""
    with Upstream() as upstream:
        yield from running(Stack(tmp_path_factory.mktemp("stack"), upstream, servers=2))


@pytest.fixture
def cable(stack: Stack) -> Iterator[Cable]:
    with Cable(stack.servers[0].port) as cable:
        yield cable


@pytest.fixture
def wired(readers: Readers, cable: Cable) -> Reader:
    """Somebody whose network is the cable, and who watches what the page shows."""
    reader = readers(base_url=cable.url)
    reader.watch()
    return reader


def test_an_answer_grows_on_across_reloads_and_never_repeats_a_word(reader: Reader, stack: Stack) -> None:
    answer = scripted(stack)
    reader.watch()
    chat = reader.open()
    chat.ask("Count")
    for count in (2, 4, 6):
        answer.release(2)
        chat.shows_answer(shown(count))
        chat.never_repeated_a_word(shown(count))
        chat.page.reload()
        chat.shows_answer(shown(count))
        chat.is_answering()
        assert chat.shown() == [shown(count)], "what was there is typed again"
    finishes(chat, answer)


def test_a_second_tab_sees_both_sides(reader: Reader, stack: Stack) -> None:
    first, second = Answer(tokens=["Both", " sides"], gate=True), Answer(tokens=["And", " yours"], gate=True)
    stack.upstream.answers.extend([first, second])
    here = reader.open()
    here.ask("From the first tab")
    first.release(1)
    here.shows_answer("Both")
    there = reader.open(here.page.url)
    there.shows_question("From the first tab")
    there.shows_answer("Both")
    there.ask("From the second tab")
    for tab in (here, there):
        expect(tab.rows.last.locator(".note")).to_have_text("Waits for its turn")
        shows(tab.rows.last.locator(".text"), "From the second tab")
        expect(tab.rows).to_have_count(3)
    first.release_all()
    second.release_all()
    for tab in (here, there):
        tab.shows_answer("Both sides")
        tab.shows_question("From the second tab", turn=2)
        tab.shows_answer("And yours", turn=2)
        tab.is_done()
        expect(tab.rows).to_have_count(4)


def test_another_device_sees_the_same_answer_grow(reader: Reader, readers: Readers, stack: Stack) -> None:
    answer = scripted(stack)
    reader.watch()
    here = reader.open()
    here.ask("Count")
    answer.release(2)
    here.shows_answer(shown(2))
    device = readers(same_as=reader)
    device.watch()
    there = device.open(f"/#{here.session}")
    there.shows_answer(shown(2))
    for count in (3, 4, 5):
        answer.release()
        for chat in (here, there):
            chat.shows_answer(shown(count))
    finishes(here, answer)
    finishes(there, answer)


def test_twelve_tabs_share_one_connection_and_all_see_the_answer_grow(wired: Reader, stack: Stack, cable: Cable) -> None:
    """A browser gives a host six connections. Tabs that join in mid-stream are given what was said before."""
    answer = Answer(tokens=[f"word{number} " for number in range(400)] + ["end"], delay=0.03)
    stack.upstream.answers.append(answer)
    first = wired.open()
    first.ask("Together?")
    expect(first.answer()).to_contain_text("word3")
    tabs = [first, *(wired.open(first.page.url) for _ in range(11))]
    assert cable.streams == 1
    for tab in tabs:
        tab.never_repeated_a_word(answer.text)
        tab.is_done()
    tabs[7].ask("And one more?")
    for tab in tabs:
        tab.shows_question("And one more?", turn=2)
    assert [cable.streams, cable.streams_opened] == [1, 1]


def scripted(stack: Stack) -> Answer:
    answer = Answer(tokens=WORDS, gate=True)
    stack.upstream.answers.append(answer)
    return answer


def shown(count: int) -> str:
    """That many words, as they are seen: white space at the end of a paragraph is not."""
    return "".join(WORDS[:count]).rstrip()


def finishes(chat: Chat, answer: Answer) -> None:
    answer.release_all()
    chat.never_repeated_a_word(answer.text)
    expect(chat.status).to_have_text(DONE)
    assert chat.source() == answer.text


