"""Sending a message: it is asked exactly once, even if its request, its tab or the network fails."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.chat import (
    MESSAGES,
    SESSIONS,
    Chat,
    Reader,
    drop_replies,
    fail_posts,
    posted_keys,
    shows,
    times_asked,
)
from tests.support.processes import Stack
from tests.support.upstream import Answer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs_chromium

UNREACHABLE = "Not sent. The server cannot be reached."
NOT_KEPT = "This browser does not keep it: it is lost when the tab closes."

# Fills the storage completely, as another page of the same origin could.
FULL = """
for (let size = 1 << 23; size >= 1; size >>= 1) {
  try {
    for (let number = 0; ; number += 1) localStorage.setItem(`filler${size}.${number}`, 'x'.repeat(size));
  } catch {}
}
"""
WRITES_FAIL = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"
FORBIDDEN = """
for (const name of ['localStorage', 'sessionStorage']) {
  Object.defineProperty(window, name, { get() { throw new DOMException('forbidden', 'SecurityError'); } });
}
"""


def test_answer_appears_token_by_token(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["Cold", " and", " clear", "."], gate=True)
    stack.upstream.answers.append(answer)
    reader.record_texts()
    chat = reader.open()
    chat.ask("How is the night?")
    chat.shows_question("How is the night?")
    chat.is_answering()
    for count in range(1, 4):
        answer.release()
        chat.shows_answer("".join(answer.tokens[:count]))
    answer.release_all()
    chat.shows_answer(answer.text)
    chat.is_done()
    assert chat.source() == answer.text
    chat.answer_only_grew(answer.text)


def test_page_names_the_answering_model(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("Who are you?")
    chat.is_done()
    expect(chat.page.locator("#model")).to_have_text("scripted")


def test_second_question_follows_the_first_answer(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.extend([Answer(tokens=["One"]), Answer(tokens=["Two"])])
    chat = reader.open()
    chat.ask("First?")
    chat.shows_answer("One")
    chat.is_done()
    chat.ask("Second?")
    chat.shows_question("Second?", turn=2)
    chat.shows_answer("Two", turn=2)
    assert chat.rows.count() == 4


def test_blank_text_is_not_sent(reader: Reader) -> None:
    chat = reader.open()
    keys = posted_keys(chat.page)
    chat.ask(" \n ")
    chat.ask("Something")
    chat.is_done()
    assert len(keys) == 1


def test_draft_survives_a_reload_until_it_is_sent(reader: Reader) -> None:
    chat = reader.open()
    chat.text_box.press_sequentially("half a thou")
    chat.page.reload()
    expect(chat.text_box).to_have_value("half a thou")
    chat.text_box.press("Enter")
    chat.is_done()
    chat.page.reload()
    chat.shows_question("half a thou")
    expect(chat.text_box).to_have_value("")


def test_draft_survives_the_closing_of_its_tab(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    address = chat.page.url
    chat.text_box.fill("half a thou")
    reader.close(chat)
    expect(reader.open().text_box).to_have_value("")
    chat = reader.open(address)
    expect(chat.text_box).to_have_value("half a thou")
    chat.text_box.press("Enter")
    chat.shows_question("half a thou", turn=2)
    reader.close(chat)
    expect(reader.open(address).text_box).to_have_value("")


def test_each_conversation_keeps_its_own_draft(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    chat.text_box.fill("for the first")
    chat.page.get_by_role("link", name="New chat").click()
    expect(chat.text_box).to_have_value("")
    chat.text_box.fill("for a new one")
    for text in ("for the first", "for a new one"):
        chat.page.go_back() if text == "for the first" else chat.page.go_forward()
        expect(chat.text_box).to_have_value(text)
        chat.page.reload()
        expect(chat.text_box).to_have_value(text)


def test_draft_typed_while_a_session_is_created_belongs_to_it(reader: Reader) -> None:
    """The user goes on typing while the POST that creates the session is in flight."""
    chat = reader.open()
    held = hold_posts(chat.page, SESSIONS)
    chat.ask("First?")
    wait_for_request(chat.page, lambda: held != [])
    chat.text_box.press_sequentially("and then")
    held[0].continue_()
    chat.is_done()
    expect(chat.text_box).to_have_value("and then")
    chat.page.reload()
    expect(chat.text_box).to_have_value("and then")
    chat.page.get_by_role("link", name="New chat").click()
    expect(chat.text_box).to_have_value("")


def test_unsent_message_survives_a_reload_and_is_retried_under_its_key(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    keys = posted_keys(chat.page)
    fail_posts(chat.page, SESSIONS)
    chat.ask("Do you hear me?")
    is_not_sent(chat, "Do you hear me?", UNREACHABLE)
    chat.page.reload()
    is_not_sent(chat, "Do you hear me?", UNREACHABLE)
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.shows_question("Do you hear me?")
    chat.is_done()
    expect(chat.rows).to_have_count(2)
    assert [len(set(keys)), times_asked(stack, "Do you hear me?")] == [1, 1]


@pytest.mark.parametrize("is_begun", [True, False], ids=["in a conversation", "in a new chat"])
def test_unsent_message_is_retried_when_the_network_is_back(reader: Reader, stack: Stack, is_begun: bool) -> None:
    chat = reader.open()
    if is_begun:
        chat.ask("First?")
        chat.is_done()
    keys = posted_keys(chat.page)
    reader.set_offline(True)
    chat.ask("In a tunnel?")
    is_not_sent(chat, "In a tunnel?", UNREACHABLE)
    reader.set_offline(False)
    chat.shows_question("In a tunnel?", turn=2 if is_begun else 1)
    chat.is_done()
    expect(chat.unsent).to_have_count(0)
    assert [len(set(keys)), times_asked(stack, "In a tunnel?")] == [1, 1]


def test_unsent_message_is_retried_when_the_server_is_back(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    stack.kill_server()
    chat.ask("Nobody there?")
    is_not_sent(chat, "Nobody there?", UNREACHABLE)
    stack.start_server()
    chat.shows_question("Nobody there?", turn=2)
    chat.is_done()
    assert times_asked(stack, "Nobody there?") == 1


@pytest.mark.parametrize("is_begun", [True, False], ids=["in a conversation", "in a new chat"])
def test_next_tab_adopts_the_unsent_message_of_a_closed_tab(reader: Reader, stack: Stack, is_begun: bool) -> None:
    chat = reader.open()
    if is_begun:
        chat.ask("First?")
        chat.is_done()
    address = chat.page.url
    fail_posts(chat.page, MESSAGES if is_begun else SESSIONS)
    chat.ask("Left behind?")
    is_not_sent(chat, "Left behind?", UNREACHABLE)
    reader.close(chat)
    next_tab = reader.open(address)
    if not is_begun:
        is_not_sent(next_tab, "Left behind?", UNREACHABLE)
        next_tab.page.get_by_role("button", name="Try again").click()
    next_tab.shows_question("Left behind?", turn=2 if is_begun else 1)
    next_tab.is_done()
    expect(next_tab.unsent).to_have_count(0)
    assert times_asked(stack, "Left behind?") == 1


def test_open_tab_keeps_its_own_unsent_message(reader: Reader, stack: Stack) -> None:
    here = reader.open()
    fail_posts(here.page, SESSIONS)
    here.ask("Mine?")
    is_not_sent(here, "Mine?", UNREACHABLE)
    there = reader.open()
    there.ask("Yours?")
    there.is_done()
    expect(there.rows).to_have_count(2)
    is_not_sent(here, "Mine?", UNREACHABLE)
    assert times_asked(stack, "Mine?") == 0


def test_message_is_asked_once_when_its_tab_closes_before_the_reply(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    held = hold_posts(chat.page, SESSIONS)
    chat.ask("Gone already?")
    wait_for_request(chat.page, lambda: held != [])
    held[0].fetch()
    reader.close(chat)
    next_tab = reader.open()
    next_tab.shows_question("Gone already?")
    next_tab.is_done()
    expect(next_tab.rows).to_have_count(2)
    assert times_asked(stack, "Gone already?") == 1


def test_first_message_is_asked_once_when_its_reply_is_lost(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    drop_replies(chat.page, SESSIONS)
    chat.ask("Once?")
    is_not_sent(chat, "Once?", UNREACHABLE)
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.is_done()
    expect(chat.rows).to_have_count(2)
    assert times_asked(stack, "Once?") == 1


def test_later_message_appears_without_a_retry_when_its_reply_is_lost(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    drop_replies(chat.page, MESSAGES)
    chat.ask("Second?")
    chat.shows_question("Second?", turn=2)
    chat.is_done()
    expect(chat.rows).to_have_count(4)
    assert times_asked(stack, "Second?") == 1


def test_unsent_message_can_be_taken_back(reader: Reader) -> None:
    chat = reader.open()
    fail_posts(chat.page, SESSIONS)
    chat.ask("Rather not")
    is_not_sent(chat, "Rather not", UNREACHABLE)
    chat.text_box.fill("but this")
    chat.page.get_by_role("button", name="Take back").click()
    expect(chat.rows).to_have_count(0)
    expect(chat.text_box).to_have_value("Rather not\nbut this")
    chat.page.reload()
    expect(chat.text_box).to_have_value("Rather not\nbut this")
    expect(chat.rows).to_have_count(0)


def test_messages_keep_their_order_behind_a_failed_one(reader: Reader) -> None:
    chat = reader.open()
    fail_posts(chat.page, SESSIONS)
    chat.ask("First?")
    is_not_sent(chat, "First?", UNREACHABLE)
    chat.ask("Second?")
    expect(chat.rows.last.locator(".note")).to_have_text("Not sent yet")
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.shows_question("First?")
    chat.shows_question("Second?", turn=2)
    chat.is_done()
    expect(chat.rows).to_have_count(4)


def test_messages_sent_at_once_from_two_tabs_are_each_asked_once(reader: Reader, stack: Stack) -> None:
    here = reader.open()
    here.ask("First?")
    here.is_done()
    there = reader.open(here.page.url)
    there.is_done()
    held = [hold_posts(tab.page, MESSAGES) for tab in (here, there)]
    here.ask("From here?")
    there.ask("From there?")
    wait_for_request(here.page, lambda: [len(posts) for posts in held] == [1, 1])
    for posts in held:
        posts[0].continue_()
    for tab in (here, there):
        expect(tab.page.locator('[data-row^="user-"]')).to_have_count(3)
        tab.is_done()
        expect(tab.rows).to_have_count(6)
        expect(tab.page.locator('[data-row^="user-"] .text')).to_contain_text(["First?", "From ", "From "])
    assert [times_asked(stack, question) for question in ("From here?", "From there?")] == [1, 1]


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (429, "queue_full", "Too many messages wait already; send it when the answer is done."),
        (413, "text_too_long", "It is too long; shorten it."),
        (500, "internal", "The server failed; its log says why."),
        (503, "store_unavailable", "The log cannot be reached right now."),
        (503, "draining", "This server is being restarted."),
        (503, "full", "This server is full."),
        (401, None, "The server answered 401."),
        (502, None, "The server answered 502."),
    ],
)
def test_refused_message_shows_the_reason_and_keeps_its_text(
    reader: Reader, stack: Stack, status: int, code: str | None, sentence: str
) -> None:
    """The page knows the error codes of its server. A proxy may answer with any body."""
    chat = reader.open()
    refuse_posts(chat.page, SESSIONS, status, code)
    chat.ask("Please?")
    is_not_sent(chat, "Please?", f"Not sent. {sentence}")
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.shows_question("Please?")
    chat.is_done()
    assert times_asked(stack, "Please?") == 1


def test_message_beyond_the_queue_limit_is_sent_once_the_queue_has_room(reader: Reader, stack: Stack) -> None:
    """MIDSENTENCE_QUEUE_LIMIT is 8."""
    answer = Answer(tokens=["Slow"], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Running?")
    chat.is_answering()
    for number in range(1, 10):
        chat.ask(f"Number {number}?")
        expect(chat.rows).to_have_count(number + 2)
    is_not_sent(chat, "Number 9?", "Not sent. Too many messages wait already; send it when the answer is done.")
    answer.release_all()
    chat.shows_question("Number 8?", turn=9)
    chat.page.get_by_role("button", name="Try again").click()
    chat.shows_question("Number 9?", turn=10)
    chat.is_done()
    assert [times_asked(stack, f"Number {number}?") for number in range(1, 10)] == [1] * 9


def test_too_long_message_is_not_sent_and_can_be_shortened(reader: Reader) -> None:
    """MIDSENTENCE_MAX_TEXT_CHARS is 100,000."""
    chat = reader.open()
    chat.ask("x" * 100_001)
    is_not_sent(chat, "x" * 100_001, "Not sent. It is too long; shorten it.")
    chat.page.get_by_role("button", name="Take back").click()
    expect(chat.text_box).to_have_value("x" * 100_001)
    chat.ask("x")
    chat.shows_question("x")


def test_message_times_out_when_the_server_does_not_reply(reader: Reader) -> None:
    reader.add_init_script(
        "const timeout = AbortSignal.timeout; AbortSignal.timeout = () => timeout.call(AbortSignal, 300);"
    )
    chat = reader.open()
    hold_posts(chat.page, SESSIONS)
    chat.ask("Anybody?")
    is_not_sent(chat, "Anybody?", "Not sent. The server did not answer in time.")


@pytest.mark.parametrize("script", [FULL, WRITES_FAIL, FORBIDDEN], ids=["full", "writes fail", "forbidden"])
def test_page_without_storage_sends_messages_and_warns_that_they_are_not_kept(
    reader: Reader, stack: Stack, script: str
) -> None:
    reader.add_init_script(script)
    chat = reader.open()
    chat.text_box.press_sequentially("First?")
    expect(chat.page.get_by_text(NOT_KEPT)).to_be_visible()
    chat.text_box.press("Enter")
    chat.is_done()
    fail_posts(chat.page, MESSAGES)
    chat.ask("Second?")
    expect(chat.unsent.locator(".note")).to_have_text([UNREACHABLE, NOT_KEPT])
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.shows_question("Second?", turn=2)
    chat.is_done()
    expect(chat.page.get_by_text(NOT_KEPT)).to_have_count(0)
    there = reader.open(chat.page.url)
    there.shows_question("Second?", turn=2)
    there.ask("Third?")
    chat.shows_question("Third?", turn=3)
    chat.is_done()
    assert [times_asked(stack, question) for question in ("First?", "Second?", "Third?")] == [1, 1, 1]


def is_not_sent(chat: Chat, text: str, reason: str) -> None:
    shows(chat.unsent.last.locator(".text"), text)
    expect(chat.unsent.last.locator(".note")).to_have_text([reason])


def hold_posts(page: Page, pattern: str) -> list[Route]:
    """Hold each POST until the test continues its route."""
    held: list[Route] = []
    page.route(pattern, lambda route: held.append(route) if route.request.method == "POST" else route.fallback())
    return held


def refuse_posts(page: Page, pattern: str, status: int, code: str | None) -> None:
    """Refuse each POST as the server does; without a code, as a proxy does."""
    body = "<h1>No.</h1>" if code is None else f'{{"error": {{"code": "{code}", "message": "In its own words."}}}}'

    def refuse(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=status, body=body)
        else:
            route.fallback()

    page.route(pattern, refuse)


def wait_for_request(page: Page, predicate: Callable[[], bool]) -> None:
    """Wait for a request. Playwright handles its events only during a call, such as `evaluate`."""
    wait_until(lambda: page.evaluate("0") == 0 and predicate(), description="the page sent a request")
