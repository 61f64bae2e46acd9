from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Request, Route, expect

from tests.browser.chat import ASKS, EVENTS, MESSAGES, Chat, Reader, keys_of, shows, stream_of, take_back
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

ADDRESS = "/#0aScriptedScriptedScript00"


def test_an_answer_grows_on_across_reloads_and_never_repeats_a_word(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["one ", "two ", "two ", "three ", "four ", "断线 ", "👩‍👩‍👧‍👦 ", "eight"], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Count")
    for count in (2, 4, 6):
        answer.release(2)
        chat.shows_answer("".join(answer.tokens[:count]))
        chat.page.reload()
        chat.shows_answer("".join(answer.tokens[:count]))
        expect(chat.status).to_have_text("Live. Answering…")
    answer.release_all()
    chat.shows_answer(answer.text)
    chat.is_done()


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
        expect(tab.rows.last.locator(".note")).to_have_text("Waiting for its turn")
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


def test_it_goes_on_after_the_server_was_killed_in_mid_answer(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["before ", "while ", "nobody ", "served ", "after"], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Still there?")
    answer.release(1)
    chat.shows_answer("before ")
    stack.kill_server()
    expect(chat.status).to_contain_text("Connection lost.")
    answer.release(3)
    stack.start_server()
    chat.shows_answer("before while nobody served ")
    expect(chat.status).to_have_text("Live. Answering…")
    answer.release_all()
    chat.shows_answer(answer.text)
    chat.is_done()


def test_a_refused_reader_says_when_it_comes_back_and_does(reader: Reader) -> None:
    """Any answer other than 200 closes an EventSource for good."""
    chat = reader.open()
    chat.ask("Hello?")
    chat.is_done()
    # The wait is random up to a ceiling that doubles; here it always is the ceiling.
    chat.page.add_init_script("Math.random = () => 1")
    chat.page.route(EVENTS, lambda route: route.fulfill(status=503), times=2)
    chat.page.reload()
    expect(chat.status).to_have_text("Connection lost. Reconnecting in 2 s…")
    expect(chat.page.get_by_role("button", name="Reconnect now")).to_be_visible()
    chat.is_done()


def test_a_reader_who_is_back_online_does_not_wait(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("Hello?")
    chat.is_done()
    # Longer than this test has.
    chat.page.add_init_script("Math.random = () => 1000")
    chat.page.route(EVENTS, lambda route: route.fulfill(status=503), times=1)
    chat.page.reload()
    expect(chat.status).to_contain_text("Reconnecting in")
    chat.page.evaluate("dispatchEvent(new Event('online'))")
    chat.is_done()


def test_a_silent_connection_is_given_up_after_40_seconds(reader: Reader) -> None:
    page = reader.blank()
    page.clock.install()
    page.goto("/")
    chat = Chat(page)
    chat.ask("Hello?")
    chat.is_done()
    with page.expect_request(EVENTS) as reopened:
        page.clock.fast_forward(46_000)
    assert [at[:2] for at in cursor_of(reopened.value)] == ["1."]
    chat.is_done()


def test_a_202_that_was_taken_back_is_asked_again_under_its_key(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    keys = keys_of(chat.page)
    take_back(chat.page, MESSAGES, {"session_id": session_of(chat), "turn": 2, "events_url": "/"})
    chat.ask("Lost?")
    expect(chat.rows.last.locator(".note")).to_have_text("Sent")
    stack.restart_server()
    chat.shows_question("Lost?", turn=2)
    chat.is_done()
    expect(chat.rows).to_have_count(4)
    assert [len(keys), len(set(keys))] == [2, 1]


def test_a_first_202_that_was_taken_back_begins_the_conversation_again(reader: Reader) -> None:
    chat = reader.open()
    keys = keys_of(chat.page)
    take_back(chat.page, ASKS, {"session_id": "0aScriptedScriptedScript00", "turn": 1, "events_url": "/"})
    chat.ask("Lost at once?")
    chat.shows_question("Lost at once?")
    chat.is_done()
    assert session_of(chat) != "0aScriptedScriptedScript00"
    assert (len(keys), len(set(keys))) == (2, 1)


def test_a_hole_in_the_events_is_mended_by_a_snapshot(reader: Reader) -> None:
    """docs/protocol.md 1.2: a client may check that nothing is missing; what this one shows is then whole again."""
    question = {"turn": 1, "parent": 0, "role": "user", "text": "Whole?", "end": None}
    whole = {"turn": 1, "parent": 0, "role": "assistant", "text": "Whole again", "end": "stop"}
    streams = [
        stream_of(
            ("snapshot", "1.0-0", {"session_id": "x", "state": "queued", "messages": [question]}),
            ("delta", "1.1-1", {"text": "Whole"}),
            ("delta", "1.1-1", {"text": "Whole"}),
            ("delta", "1.1-3", {"text": "gain"}),
        ),
        stream_of(("snapshot", "1.1-4", {"session_id": "x", "state": "idle", "messages": [question, whole]})),
    ]
    asked: list[list[str]] = []
    page = reader.blank()
    seen: list[str | None] = []

    def play(route: Route) -> None:
        if asked:
            seen.append(page.locator('[data-row="assistant-1"] .text').text_content())
        asked.append(cursor_of(route.request))
        route.fulfill(content_type="text/event-stream", body=streams[len(asked) - 1])

    page.route(EVENTS, play)
    page.goto(ADDRESS)
    Chat(page).shows_answer("Whole again")
    assert asked == [[], []]
    assert seen == ["Whole"]


def test_an_address_that_names_no_session_of_mine_says_so(reader: Reader) -> None:
    chat = reader.open(ADDRESS)
    expect(chat.status).to_contain_text("This conversation is not here")
    expect(chat.page.get_by_role("button", name="Send")).to_be_disabled()


def cursor_of(request: Request) -> list[str]:
    return parse_qs(urlsplit(request.url).query).get("last_event_id", [])


def session_of(chat: Chat) -> str:
    return urlsplit(chat.page.url).fragment
