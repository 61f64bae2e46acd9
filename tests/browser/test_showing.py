"""How an answer ended, which model gave it, and that violations of the policy are noticed."""

import pytest
from playwright.sync_api import expect

from tests.browser.chat import EVENTS, Chat, Reader, shows, stream_of
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium


def test_a_failed_answer_keeps_its_text_and_reason_over_a_reload(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["Half ", "an ", "answer"], error_after=2))
    chat = reader.open()
    chat.ask("Will you finish?")
    note = chat.row("assistant-1").locator(".note")
    for _ in range(2):
        shows(note, "The answer failed: the model’s server failed.")
        chat.shows_answer("Half an")
        chat.page.reload()
    assert chat.source() == "Half an "


def test_an_answer_that_fails_without_text_says_why(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(status=401, body={"error": {"message": "No."}}))
    chat = reader.open()
    chat.ask("May I?")
    shows(chat.row("assistant-1").locator(".note"), "The answer failed: the model’s provider refused the key.")
    chat.shows_answer("")


@pytest.mark.parametrize(
    ("finish", "sentence"),
    [
        ("length", "Cut off: the model reached its length limit."),
        ("content_filter", "Ended by the content filter of the model’s provider."),
    ],
)
def test_a_truncated_answer_says_so(reader: Reader, stack: Stack, finish: str, sentence: str) -> None:
    stack.upstream.answers.append(Answer(tokens=["Half"], finish=finish))
    chat = reader.open()
    chat.ask("All of it?")
    shows(chat.row("assistant-1").locator(".note"), sentence)
    chat.shows_answer("Half")


def test_the_demo_model_is_named(reader: Reader) -> None:
    question = {"turn": 1, "parent": 0, "role": "user", "text": "Who?", "end": None}
    stream = stream_of(
        ("snapshot", "1.0-0", {"session_id": "x", "state": "queued", "messages": [question]}),
        ("start", "1.1-1", {"turn": 1, "attempt": 1, "model": "demo"}),
    )
    chat = Chat(reader.blank())
    chat.page.route(EVENTS, lambda route: route.fulfill(content_type="text/event-stream", body=stream))
    chat.page.goto("/#0aScriptedScriptedScript00")
    expect(chat.page.get_by_text("This is the built-in demo model, which only pretends.")).to_be_visible()
    expect(chat.page.locator("#model")).to_have_text("demo")


def test_a_breach_of_the_policy_is_noticed(reader: Reader) -> None:
    """Every other browser test asserts that there is none."""
    chat = reader.open()
    chat.page.evaluate("document.head.append(Object.assign(document.createElement('style'), {textContent: 'p {}'}))")
    expect(chat.status).to_have_text("Ready")
    assert [text for text in reader.complaints if text.startswith("style-src-elem")] == ["style-src-elem: inline "]
    reader.complaints.clear()
