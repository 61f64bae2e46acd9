"""A message is asked exactly once, even if its request, its tab or the network fails."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.chat import ASKS, MESSAGES, Chat, Reader, fail_posts, keys_of, lose_replies, shows, times_asked
from tests.support.processes import Stack
from tests.support.upstream import Answer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs_chromium

UNREACHABLE = "Not sent. The server cannot be reached."
NOT_KEPT = "This browser does not keep it: it is lost when the tab closes."

# Storage without a free byte, as other pages of the same origin may leave it.
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


def test_a_question_is_asked_and_its_answer_grows_on_the_page(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["Cold", " and", " clear", "."], gate=True)
    stack.upstream.answers.append(answer)
    reader.watch()
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
    chat.never_repeated_a_word(answer.text)


def test_the_answering_model_is_named(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("Who are you?")
    chat.is_done()
    expect(chat.page.locator("#model")).to_have_text("scripted")


def test_the_second_question_follows_the_first_answer(reader: Reader, stack: Stack) -> None:
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
    keys = keys_of(chat.page)
    chat.ask(" \n ")
    chat.ask("Something")
    chat.is_done()
    assert len(keys) == 1


def test_a_draft_survives_a_reload_until_it_is_sent(reader: Reader) -> None:
    chat = reader.open()
    chat.text_box.press_sequentially("half a thou")
    chat.page.reload()
    expect(chat.text_box).to_have_value("half a thou")
    chat.text_box.press("Enter")
    chat.is_done()
    chat.page.reload()
    chat.shows_question("half a thou")
    expect(chat.text_box).to_have_value("")


def test_a_draft_survives_its_tab(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    address = chat.page.url
    chat.text_box.fill("half a thou")
    chat.page.close()
    expect(reader.open().text_box).to_have_value("")
    chat = reader.open(address)
    expect(chat.text_box).to_have_value("half a thou")
    chat.text_box.press("Enter")
    chat.shows_question("half a thou", turn=2)
    chat.page.close()
    expect(reader.open(address).text_box).to_have_value("")


def test_drafts_of_two_conversations_do_not_mix(reader: Reader) -> None:
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


def test_text_typed_while_a_conversation_is_created_stays_in_it(reader: Reader) -> None:
    """The new chat gets its session while the person is still typing."""
    chat = reader.open()
    held = hold_posts(chat.page, ASKS)
    chat.ask("First?")
    wait_for(chat.page, lambda: held != [])
    chat.text_box.press_sequentially("and then")
    held[0].continue_()
    chat.is_done()
    expect(chat.text_box).to_have_value("and then")
    chat.page.reload()
    expect(chat.text_box).to_have_value("and then")
    chat.page.get_by_role("link", name="New chat").click()
    expect(chat.text_box).to_have_value("")


def test_an_unsent_message_is_kept_and_resent_under_its_key(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    keys = keys_of(chat.page)
    fail_posts(chat.page, ASKS)
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
def test_an_unsent_message_is_sent_when_the_network_returns(reader: Reader, stack: Stack, is_begun: bool) -> None:
    chat = reader.open()
    if is_begun:
        chat.ask("First?")
        chat.is_done()
    keys = keys_of(chat.page)
    reader.set_offline(True)
    chat.ask("In a tunnel?")
    is_not_sent(chat, "In a tunnel?", UNREACHABLE)
    reader.set_offline(False)
    chat.shows_question("In a tunnel?", turn=2 if is_begun else 1)
    chat.is_done()
    expect(chat.unsent).to_have_count(0)
    assert [len(set(keys)), times_asked(stack, "In a tunnel?")] == [1, 1]


def test_an_unsent_message_is_sent_when_the_server_returns(reader: Reader, stack: Stack) -> None:
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
def test_the_next_tab_sends_what_a_closed_tab_left_unsent(reader: Reader, stack: Stack, is_begun: bool) -> None:
    chat = reader.open()
    if is_begun:
        chat.ask("First?")
        chat.is_done()
    address = chat.page.url
    fail_posts(chat.page, MESSAGES if is_begun else ASKS)
    chat.ask("Left behind?")
    is_not_sent(chat, "Left behind?", UNREACHABLE)
    chat.page.close()
    heir = reader.open(address)
    if not is_begun:
        is_not_sent(heir, "Left behind?", UNREACHABLE)
        heir.page.get_by_role("button", name="Try again").click()
    heir.shows_question("Left behind?", turn=2 if is_begun else 1)
    heir.is_done()
    expect(heir.unsent).to_have_count(0)
    assert times_asked(stack, "Left behind?") == 1


def test_an_open_tab_keeps_its_unsent_message_to_itself(reader: Reader, stack: Stack) -> None:
    here = reader.open()
    fail_posts(here.page, ASKS)
    here.ask("Mine?")
    is_not_sent(here, "Mine?", UNREACHABLE)
    there = reader.open()
    there.ask("Yours?")
    there.is_done()
    expect(there.rows).to_have_count(2)
    is_not_sent(here, "Mine?", UNREACHABLE)
    assert times_asked(stack, "Mine?") == 0


def test_a_message_whose_tab_closed_before_the_reply_is_asked_once(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    held = hold_posts(chat.page, ASKS)
    chat.ask("Gone already?")
    wait_for(chat.page, lambda: held != [])
    held[0].fetch()
    chat.page.close()
    heir = reader.open()
    heir.shows_question("Gone already?")
    heir.is_done()
    expect(heir.rows).to_have_count(2)
    assert times_asked(stack, "Gone already?") == 1


def test_a_first_message_whose_reply_was_lost_is_asked_once(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    lose_replies(chat.page, ASKS)
    chat.ask("Once?")
    is_not_sent(chat, "Once?", UNREACHABLE)
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.is_done()
    expect(chat.rows).to_have_count(2)
    assert times_asked(stack, "Once?") == 1


def test_a_later_message_whose_reply_was_lost_appears_on_the_page(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    lose_replies(chat.page, MESSAGES)
    chat.ask("Second?")
    chat.shows_question("Second?", turn=2)
    chat.is_done()
    expect(chat.rows).to_have_count(4)
    assert times_asked(stack, "Second?") == 1


def test_an_unsent_message_can_be_discarded(reader: Reader) -> None:
    chat = reader.open()
    fail_posts(chat.page, ASKS)
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
    fail_posts(chat.page, ASKS)
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


def test_messages_of_two_tabs_at_once_are_asked_once_and_shown_in_both(reader: Reader, stack: Stack) -> None:
    here = reader.open()
    here.ask("First?")
    here.is_done()
    there = reader.open(here.page.url)
    there.is_done()
    held = [hold_posts(tab.page, MESSAGES) for tab in (here, there)]
    here.ask("From here?")
    there.ask("From there?")
    wait_for(here.page, lambda: [len(posts) for posts in held] == [1, 1])
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
        (401, None, "The server answered 401."),
        (502, None, "The server answered 502."),
    ],
)
def test_a_refused_message_says_why_and_keeps_its_text(
    reader: Reader, stack: Stack, status: int, code: str | None, sentence: str
) -> None:
    """The server's refusals have codes; those of a proxy have not."""
    chat = reader.open()
    refuse_posts(chat.page, ASKS, status, code)
    chat.ask("Please?")
    is_not_sent(chat, "Please?", f"Not sent. {sentence}")
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.shows_question("Please?")
    chat.is_done()
    assert times_asked(stack, "Please?") == 1


def test_a_message_beyond_the_queue_limit_is_sent_when_there_is_room(reader: Reader, stack: Stack) -> None:
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


def test_a_too_long_message_is_not_sent_and_can_be_shortened(reader: Reader) -> None:
    """MIDSENTENCE_MAX_TEXT_CHARS is 100,000."""
    chat = reader.open()
    chat.ask("x" * 100_001)
    is_not_sent(chat, "x" * 100_001, "Not sent. It is too long; shorten it.")
    chat.page.get_by_role("button", name="Take back").click()
    expect(chat.text_box).to_have_value("x" * 100_001)
    chat.ask("x")
    chat.shows_question("x")


def test_a_request_without_an_answer_is_abandoned(reader: Reader) -> None:
    reader.before_the_page(
        "const timeout = AbortSignal.timeout; AbortSignal.timeout = () => timeout.call(AbortSignal, 300);"
    )
    chat = reader.open()
    hold_posts(chat.page, ASKS)
    chat.ask("Anybody?")
    is_not_sent(chat, "Anybody?", "Not sent. The server did not answer in time.")


@pytest.mark.parametrize("script", [FULL, WRITES_FAIL, FORBIDDEN], ids=["full", "writes fail", "forbidden"])
def test_without_storage_the_page_works_and_warns(reader: Reader, stack: Stack, script: str) -> None:
    reader.before_the_page(script)
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


def is_not_sent(chat: Chat, text: str, why: str) -> None:
    shows(chat.unsent.last.locator(".text"), text)
    expect(chat.unsent.last.locator(".note")).to_have_text([why])


def hold_posts(page: Page, pattern: str) -> list[Route]:
    """Hold each POST until the test releases it."""
    held: list[Route] = []
    page.route(pattern, lambda route: held.append(route) if route.request.method == "POST" else route.fallback())
    return held


def refuse_posts(page: Page, pattern: str, status: int, code: str | None) -> None:
    """Refuse with this code as the server does, or without a code as a proxy does."""
    body = "<h1>No.</h1>" if code is None else f'{{"error": {{"code": "{code}", "message": "In its own words."}}}}'

    def refuse(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=status, body=body)
        else:
            route.fallback()

    page.route(pattern, refuse)


def wait_for(page: Page, predicate: Callable[[], bool]) -> None:
    """Wait until a request came. Playwright handles events only during a call to it."""
    wait_until(lambda: page.evaluate("0") == 0 and predicate(), description="the page sent a request")
