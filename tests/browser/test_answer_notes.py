"""The notes on an answer: how it ended, and which model gave it."""

import pytest
from playwright.sync_api import expect

from tests.browser.chat import EVENTS, Chat, Reader, event_stream, shows
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium


def test_failed_answer_keeps_its_text_and_reason_after_a_reload(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["Half ", "an ", "answer"], error_after=2))
    chat = reader.open()
    chat.ask("Will you finish?")
    note = chat.row("assistant-1").locator(".note")
    for _ in range(2):
        shows(note, "The answer failed: the model’s server failed. (The scripted model broke.)")
        chat.shows_answer("Half an")
        chat.page.reload()
    assert chat.source() == "Half an "


def test_failed_answer_without_text_shows_the_reason(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(status=401, body={"error": {"message": "No."}}))
    chat = reader.open()
    chat.ask("May I?")
    shows(chat.row("assistant-1").locator(".note"), "The answer failed: the model’s provider refused the key. (No.)")
    chat.shows_answer("")


@pytest.mark.parametrize(
    ("finish", "sentence"),
    [
        ("length", "Cut off: the model reached its length limit."),
        ("content_filter", "Ended by the content filter of the model’s provider."),
    ],
)
def test_truncated_answer_shows_the_reason(reader: Reader, stack: Stack, finish: str, sentence: str) -> None:
    stack.upstream.answers.append(Answer(tokens=["Half"], finish=finish))
    chat = reader.open()
    chat.ask("All of it?")
    shows(chat.row("assistant-1").locator(".note"), sentence)
    chat.shows_answer("Half")


def test_demo_model_is_labelled(reader: Reader) -> None:
    question = {"turn": 1, "parent": 0, "role": "user", "text": "Who?", "end": None}
    stream = event_stream(
        ("snapshot", "1.0-0", {"session_id": "x", "state": "queued", "messages": [question]}),
        ("start", "1.1-1", {"turn": 1, "attempt": 1, "model": "demo"}),
    )
    chat = Chat(reader.new_tab())
    chat.page.route(EVENTS, lambda route: route.fulfill(content_type="text/event-stream", body=stream))
    chat.page.goto("/#0aScriptedScriptedScript00")
    expect(chat.page.get_by_text("This is the built-in demo model, which only pretends.")).to_be_visible()
    expect(chat.page.locator("#model")).to_have_text("demo")
