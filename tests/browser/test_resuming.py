"""Resuming an answer after a lost connection, a reload, a crash or a frozen tab: no word is repeated or lost."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import CDPSession, Page, Request, Route, expect

from tests.browser.chat import (
    DONE,
    EVENTS,
    MESSAGES,
    SESSIONS,
    Chat,
    Reader,
    Readers,
    accept_and_lose,
    event_stream,
    posted_keys,
    shows,
)
from tests.browser.conftest import NO_HEALING
from tests.conftest import running
from tests.support.browser_proxy import BrowserProxy
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs_chromium

SESSION = "0aScriptedScriptedScript00"
ADDRESS = f"/#{SESSION}"
WORDS = ["one ", "two ", "two ", "three ", "four ", "断线 ", "👩‍👩‍👧‍👦 ", "eight"]
RESUMED = re.compile(r"^Live · Resumed at \d{1,2}:\d\d:\d\d\s[AP]M, nothing lost · (Answering…|Done)$")

# The delay before a retry is random, up to a ceiling that doubles. Here it is always the ceiling.
LONGEST_WAITS = "Math.random = () => 1;"
# Longer than any test runs.
ENDLESS_WAITS = "Math.random = () => 1000;"
# A clock that can be set forward, and timers that check it twice as often.
ADJUSTABLE_CLOCK = """
globalThis.later = 0;
const { now } = Date;
Date.now = () => now() + later;
const { setInterval: every } = globalThis;
globalThis.setInterval = (call, milliseconds) => every(call, milliseconds / 2);
"""
BACK_ONLINE = "addEventListener('online', () => { globalThis.backAt = performance.now(); });"
SET_VISIBILITY = """(state) => {
  Object.defineProperty(document, 'visibilityState', { get: () => state, configurable: true });
  Object.defineProperty(document, 'hidden', { get: () => state === 'hidden', configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two servers, since a test may kill the first, and a short lease, so that a killed worker is replaced soon."""
    settings = NO_HEALING | {"MIDSENTENCE_LEASE_SECONDS": "5"}
    with Upstream() as upstream:
        yield from running(Stack(tmp_path_factory.mktemp("stack"), upstream, servers=2, settings=settings))


@pytest.fixture
def proxy(stack: Stack) -> Iterator[BrowserProxy]:
    with BrowserProxy(stack.servers[0].port) as proxy:
        yield proxy


@pytest.fixture
def wired(readers: Readers, proxy: BrowserProxy) -> Reader:
    """A user who reaches the server through the proxy. The texts of the page are recorded."""
    reader = readers(base_url=proxy.url)
    reader.record_texts()
    return reader


def test_reload_continues_the_answer_without_repeating_a_word(reader: Reader, stack: Stack) -> None:
    answer = gated_answer(stack)
    reader.record_texts()
    chat = reader.open()
    chat.ask("Count")
    for count in (2, 4, 6):
        answer.release(2)
        chat.shows_answer(first_words(count))
        chat.answer_only_grew(first_words(count))
        chat.page.reload()
        chat.shows_answer(first_words(count))
        chat.is_answering()
        assert chat.recorded_answers() == [first_words(count)], "the page typed old text again"
    finishes(chat, answer)


def test_second_tab_shows_questions_and_answers(reader: Reader, stack: Stack) -> None:
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


def test_another_device_streams_the_same_answer(reader: Reader, readers: Readers, stack: Stack) -> None:
    answer = gated_answer(stack)
    reader.record_texts()
    here = reader.open()
    here.ask("Count")
    answer.release(2)
    here.shows_answer(first_words(2))
    device = readers(same_as=reader)
    device.record_texts()
    there = device.open(f"/#{here.session}")
    there.shows_answer(first_words(2))
    for count in (3, 4, 5):
        answer.release()
        for chat in (here, there):
            chat.shows_answer(first_words(count))
    finishes(here, answer)
    finishes(there, answer)


def test_twelve_tabs_share_one_connection_and_stream_the_answer(
    wired: Reader, stack: Stack, proxy: BrowserProxy
) -> None:
    """A browser opens six connections to a host. Tabs that join later get the conversation so far."""
    stack.upstream.answers.append(Answer(tokens=[f"word{number} " for number in range(3000)], delay=0.02))
    first = wired.open()
    first.ask("Together?")
    expect(first.answer()).to_contain_text("word3")
    tabs = [first, *(wired.open(first.page.url) for _ in range(11))]
    assert proxy.streams == 1
    for tab in tabs:
        expect(tab.answer()).to_contain_text("word9")
    tabs[7].page.get_by_role("button", name="Stop").click()
    expect(tabs[11].row("assistant-1")).to_have_attribute("data-end", "stopped")
    text = tabs[3].source().rstrip()
    for tab in tabs:
        tab.answer_only_grew(text)
        tab.is_done()
    assert [proxy.streams, proxy.streams_opened] == [1, 1]


def test_closing_leader_hands_over_its_connection_at_once(wired: Reader, stack: Stack, proxy: BrowserProxy) -> None:
    """The first tab leads: it holds the stream for all. It leaves the session, then the next leader closes."""
    answer = gated_answer(stack)
    first = wired.open()
    first.ask("Count")
    answer.release()
    first.shows_answer(first_words(1))
    second, third = (wired.open(first.page.url) for _ in range(2))
    for tab in (second, third):
        tab.shows_answer(first_words(1))
    first.page.get_by_role("link", name="New chat").click()
    answer.release()
    for tab in (second, third):
        tab.shows_answer(first_words(2))
    second.page.close()
    answer.release()
    third.shows_answer(first_words(3))
    assert proxy.streams == 1
    finishes(third, answer)


def test_frozen_tab_is_replaced_and_catches_up(wired: Reader, stack: Stack, proxy: BrowserProxy) -> None:
    """A browser may freeze a tab in the background, which keeps its locks."""
    answer = gated_answer(stack)
    first = wired.open()
    first.ask("Count")
    answer.release()
    first.shows_answer(first_words(1))
    second = wired.open(first.page.url)
    second.shows_answer(first_words(1))
    freezer = freeze(first.page)
    answer.release()
    third = wired.open(first.page.url)
    for tab in (second, third):
        tab.shows_answer(first_words(2))
    thaw(freezer)
    answer.release(2)
    for tab in (first, second, third):
        tab.shows_answer(first_words(4))
    wait_until(lambda: proxy.streams == 1, description="the thawed tab closes its stream")
    for tab in (first, second, third):
        finishes(tab, answer)
    assert proxy.streams == 1


def test_tab_replaces_a_silent_frozen_leader(wired: Reader, stack: Stack) -> None:
    """The server sends a `ping` every 15 s, so 45 s of silence mean that the leader is frozen."""
    answer = gated_answer(stack)
    first = wired.open()
    first.ask("Count")
    answer.release()
    first.shows_answer(first_words(1))
    second = Chat(wired.new_tab())
    second.page.add_init_script(ADJUSTABLE_CLOCK)
    second.page.goto(first.page.url)
    second.shows_answer(first_words(1))
    freezer = freeze(first.page)
    answer.release()
    second.page.evaluate("later = 46_000")
    second.shows_answer(first_words(2))
    finishes(second, answer)
    thaw(freezer)
    finishes(first, answer)


def test_title_and_icon_of_a_hidden_tab_show_when_its_answer_is_done(reader: Reader, stack: Stack) -> None:
    answers = [Answer(tokens=["So"], gate=True), Answer(tokens=["And", " no"], gate=True, error_after=1)]
    stack.upstream.answers.extend(answers)
    chat = reader.open()
    icon = chat.page.locator("link[rel=icon]")
    chat.ask("Is it?")
    chat.is_answering()
    expect(chat.page).to_have_title("Is it? · midsentence")
    expect(icon).to_have_attribute("href", "/page/icon.svg")
    chat.page.evaluate(SET_VISIBILITY, "hidden")
    expect(chat.page).to_have_title("… Is it? · midsentence")
    expect(icon).to_have_attribute("href", "/page/icon-busy.svg")
    answers[0].release_all()
    expect(chat.page).to_have_title("✓ Is it? · midsentence")
    expect(icon).to_have_attribute("href", "/page/icon-done.svg")
    chat.page.evaluate(SET_VISIBILITY, "visible")
    expect(chat.page).to_have_title("Is it? · midsentence")
    expect(icon).to_have_attribute("href", "/page/icon.svg")
    chat.ask("Is it not?")
    chat.is_answering()
    chat.page.evaluate(SET_VISIBILITY, "hidden")
    answers[1].release_all()
    expect(chat.page).to_have_title("! Is it? · midsentence")


def test_every_tab_shows_a_broken_connection_and_resumes(wired: Reader, stack: Stack, proxy: BrowserProxy) -> None:
    """Only one of the tabs holds the connection."""
    answer = gated_answer(stack)
    chat = wired.open()
    chat.ask("Count")
    answer.release(2)
    chat.shows_answer(first_words(2))
    tabs = [chat, wired.open(chat.page.url)]
    tabs[1].shows_answer(first_words(2))
    proxy.reset()
    for tab in tabs:
        tab.has_shown_status("Connection lost. Reconnecting…")
    answer.release(2)
    for tab in tabs:
        tab.shows_answer(first_words(4))
        expect(tab.status).to_have_text(RESUMED)
    for tab in tabs:
        finishes(tab, answer)
    chat.ask("And?")
    for tab in tabs:
        expect(tab.row("assistant-2")).to_have_attribute("data-end", "stop")
        expect(tab.status).to_have_text("Live · Done")


def test_retry_delays_grow_while_the_network_is_down(wired: Reader, stack: Stack, proxy: BrowserProxy) -> None:
    """The status shows when the next attempt starts."""
    wired.add_init_script(LONGEST_WAITS)
    answer = gated_answer(stack)
    chat = wired.open()
    chat.ask("Count")
    answer.release()
    chat.shows_answer(first_words(1))
    proxy.cut()
    waits = [f"Connection lost. Reconnecting in {seconds} s…" for seconds in (1, 2, 4)]
    for wait in waits:
        chat.has_shown_status(wait)
    statuses = chat.page.evaluate("statuses")
    assert sorted(waits, key=statuses.index) == waits
    answer.release()
    proxy.restore()
    chat.page.get_by_role("button", name="Reconnect now").click()
    chat.shows_answer(first_words(2))
    expect(chat.status).to_have_text(RESUMED)
    finishes(chat, answer)


@pytest.mark.parametrize("away", ["for a moment", "for long"])
def test_answer_continues_within_two_seconds_of_the_network(
    wired: Reader, stack: Stack, proxy: BrowserProxy, away: str
) -> None:
    """The retry delay of the page does not matter."""
    wired.add_init_script(BACK_ONLINE)
    answer = gated_answer(stack)
    chat = wired.open()
    chat.page.evaluate(ENDLESS_WAITS)
    chat.ask("Count")
    answer.release(2)
    chat.shows_answer(first_words(2))
    wired.set_offline(True)
    proxy.cut()
    connection = "reconnecting" if away == "for a moment" else "waiting"
    status = chat.page.locator(f"#status[data-connection={connection}]")
    expect(status).to_have_text("No network. It goes on when you are back.")
    answer.release(2)
    proxy.restore()
    wired.set_offline(False)
    chat.shows_answer(first_words(4))
    back_at, next_word_at = chat.page.evaluate("[backAt, shown['assistant-1'].find(({ at }) => at > backAt).at]")
    assert next_word_at - back_at < 2000
    expect(chat.status).to_have_text(RESUMED)
    finishes(chat, answer)


def test_answer_continues_after_the_server_is_killed(reader: Reader, stack: Stack) -> None:
    answer = gated_answer(stack)
    reader.record_texts()
    chat = reader.open()
    chat.ask("Still there?")
    answer.release(1)
    chat.shows_answer(first_words(1))
    stack.kill_server()
    expect(chat.status).to_contain_text("Connection lost.")
    answer.release(3)
    stack.start_server()
    chat.shows_answer(first_words(4))
    expect(chat.status).to_have_text(RESUMED)
    finishes(chat, answer)


def test_answer_continues_after_the_server_restarts(reader: Reader, stack: Stack) -> None:
    """A stopping server closes its streams and sends a retry delay."""
    answer = gated_answer(stack)
    reader.record_texts()
    chat = reader.open()
    chat.ask("Still there?")
    answer.release(1)
    chat.shows_answer(first_words(1))
    stack.restart_server()
    answer.release(3)
    chat.shows_answer(first_words(4))
    expect(chat.status).to_have_text(RESUMED)
    finishes(chat, answer)


def test_answer_continues_at_another_server(wired: Reader, stack: Stack, proxy: BrowserProxy) -> None:
    answer = gated_answer(stack)
    chat = wired.open()
    chat.ask("Who is there?")
    answer.release(2)
    chat.shows_answer(first_words(2))
    proxy.target = stack.servers[1].port
    stack.kill_server()
    answer.release(2)
    chat.shows_answer(first_words(4))
    expect(chat.status).to_have_text(RESUMED)
    finishes(chat, answer)
    chat.ask("And now?")
    expect(chat.row("assistant-2")).to_have_attribute("data-end", "stop")


def test_killed_worker_is_replaced_and_the_status_shows_it(wired: Reader, stack: Stack) -> None:
    """A model that cannot continue starts again. The new answer then has nothing of the first attempt."""
    first, second = (Answer(tokens=[*pieces, "end"], gate=True) for pieces in (["Half ", "an "], ["A ", "whole "]))
    stack.upstream.answers.extend([first, second])
    chat = wired.open()
    chat.ask("Will you finish?")
    first.release(2)
    chat.shows_answer("Half an")
    stack.workers[0].kill()
    stack.workers[0].start()
    second.release(2)
    chat.shows_answer("A whole")
    expect(chat.status).to_have_text("Live · The answer broke off. It is being written again.")
    joined = wired.open(chat.page.url)
    joined.shows_answer("A whole")
    expect(joined.status).to_have_text("Live · The answer broke off. It is being written again.")
    second.release_all()
    for tab in (chat, joined):
        tab.shows_answer(second.text)
        tab.is_done()
    assert chat.source() == second.text
    texts = chat.recorded_answers()
    restart = next(at for at, text in enumerate(texts) if text != "" and not first.text.startswith(text))
    assert [text for text in texts[restart:] if not second.text.startswith(text)] == []


def test_refused_stream_shows_its_retry_delay_and_reconnects(reader: Reader) -> None:
    """A status other than 200 closes an EventSource for good."""
    chat = reader.open()
    chat.ask("Hello?")
    chat.is_done()
    chat.page.add_init_script(LONGEST_WAITS)
    chat.page.route(EVENTS, lambda route: route.fulfill(status=503), times=2)
    chat.page.reload()
    expect(chat.status).to_have_text("Connection lost. Reconnecting in 2 s…")
    expect(chat.page.get_by_role("button", name="Reconnect now")).to_be_visible()
    chat.is_done()


def test_online_event_reconnects_at_once(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("Hello?")
    chat.is_done()
    chat.page.add_init_script(ENDLESS_WAITS)
    chat.page.route(EVENTS, lambda route: route.fulfill(status=503), times=1)
    chat.page.reload()
    expect(chat.status).to_contain_text("Reconnecting in")
    chat.page.evaluate("dispatchEvent(new Event('online'))")
    chat.is_done()


def test_silent_connection_is_replaced_after_40_seconds(reader: Reader) -> None:
    page = reader.new_tab()
    page.clock.install()
    page.goto("/")
    chat = Chat(page)
    chat.ask("Hello?")
    chat.is_done()
    with page.expect_request(EVENTS) as reopened:
        page.clock.fast_forward(46_000)
    assert [at[:2] for at in last_event_ids(reopened.value)] == ["1."]
    chat.is_done()


def test_accepted_but_lost_message_is_sent_again_under_its_key(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    keys = posted_keys(chat.page)
    accept_and_lose(chat.page, MESSAGES, {"session_id": chat.session, "turn": 2, "events_url": "/"})
    chat.ask("Lost?")
    expect(chat.rows.last.locator(".note")).to_have_text("Sent")
    stack.restart_server()
    chat.shows_question("Lost?", turn=2)
    chat.is_done()
    expect(chat.rows).to_have_count(4)
    assert [len(keys), len(set(keys))] == [2, 1]


def test_accepted_but_lost_first_message_begins_a_new_session(reader: Reader) -> None:
    chat = reader.open()
    keys = posted_keys(chat.page)
    accept_and_lose(chat.page, SESSIONS, {"session_id": SESSION, "turn": 1, "events_url": "/"})
    chat.ask("Lost at once?")
    chat.shows_question("Lost at once?")
    chat.is_done()
    assert chat.session != SESSION
    assert (len(keys), len(set(keys))) == (2, 1)


def test_gap_in_the_events_is_filled_by_a_snapshot(reader: Reader) -> None:
    """The page checks that no event is missing (docs/protocol.md 1.2) and asks for a snapshot."""
    question = {"turn": 1, "parent": 0, "role": "user", "text": "Whole?", "end": None}
    whole = {"turn": 1, "parent": 0, "role": "assistant", "text": "Whole again", "end": "stop"}
    streams = [
        event_stream(
            ("snapshot", "1.0-0", {"session_id": "x", "state": "queued", "messages": [question]}),
            ("delta", "1.1-1", {"text": "Whole"}),
            ("delta", "1.1-1", {"text": "Whole"}),
            ("delta", "1.1-3", {"text": "gain"}),
        ),
        event_stream(("snapshot", "1.1-4", {"session_id": "x", "state": "idle", "messages": [question, whole]})),
    ]
    cursors: list[list[str]] = []

    def play(route: Route) -> None:
        cursors.append(last_event_ids(route.request))
        route.fulfill(content_type="text/event-stream", body=streams[len(cursors) - 1])

    reader.record_texts()
    page = reader.new_tab()
    page.route(EVENTS, play)
    page.goto(ADDRESS)
    Chat(page).answer_only_grew("Whole again")
    assert cursors == [[], []]


def test_unknown_session_shows_that_it_is_not_found(reader: Reader) -> None:
    chat = reader.open(ADDRESS)
    expect(chat.status).to_contain_text("This conversation is not here")
    chat.text_box.fill("Anybody?")
    expect(chat.page.get_by_role("button", name="Send")).to_be_disabled()


def gated_answer(stack: Stack) -> Answer:
    answer = Answer(tokens=WORDS, gate=True)
    stack.upstream.answers.append(answer)
    return answer


def first_words(count: int) -> str:
    """The first words as the page shows them: without white space at the end of a paragraph."""
    return "".join(WORDS[:count]).rstrip()


def finishes(chat: Chat, answer: Answer) -> None:
    answer.release_all()
    chat.answer_only_grew(answer.text)
    expect(chat.status).to_have_text(DONE)
    assert chat.source() == answer.text


def freeze(page: Page) -> CDPSession:
    """Pause every script of the page with a debugger. It gets no event, timer or message, and keeps its locks."""
    freezer: Any = page.context.new_cdp_session(page)
    freezer.send("Debugger.enable")
    freezer.send("Debugger.pause")
    return freezer


def thaw(freezer: CDPSession) -> None:
    freezer.send("Debugger.resume")  # pyright: ignore[reportUnknownMemberType]
    freezer.detach()


def last_event_ids(request: Request) -> list[str]:
    return parse_qs(urlsplit(request.url).query).get("last_event_id", [])
