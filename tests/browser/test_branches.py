"""Branches of a conversation, and the actions on its messages: edit, regenerate, copy, export."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chat import EVENTS, Chat, Reader, Readers, event_stream, posted_keys, shows
from tests.browser.input_method import press_during_composition
from tests.support.processes import Stack
from tests.support.upstream import Answer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs_chromium

CANNOT_COPY = """
navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
document.execCommand = () => false;
"""


def test_edited_question_begins_a_branch_of_its_own(reader: Reader, stack: Stack) -> None:
    chat = answered(reader, stack, ("One?", "First."), ("Two?", "Second."))
    queue_answers(stack, "Other first.")
    edit(chat, 1, "Other one?")
    path_is(chat, "user-3", "assistant-3")
    chat.shows_answer("Other first.", turn=3)
    shows_versions(chat, "user-3", "2/2")
    press(chat, "user-3", "Previous version")
    path_is(chat, "user-1", "assistant-1", "user-2", "assistant-2")
    chat.shows_answer("Second.", turn=2)
    shows_versions(chat, "user-1", "1/2")
    press(chat, "user-1", "Next version")
    path_is(chat, "user-3", "assistant-3")


def test_model_receives_only_the_shown_path(reader: Reader, stack: Stack) -> None:
    chat = answered(reader, stack, ("One?", "First."), ("Two?", "Second."))
    queue_answers(stack, "Other second.", "Third.")
    edit(chat, 2, "Other two?")
    chat.is_done()
    chat.ask("Three?")
    chat.shows_answer("Third.", turn=4)
    assert last_prompt(stack) == ["One?", "First.", "Other two?", "Other second.", "Three?"]


def test_question_asked_under_an_older_version_continues_that_branch(reader: Reader, stack: Stack) -> None:
    chat = answered(reader, stack, ("One?", "First."), ("Two?", "Second."))
    queue_answers(stack, "Other second.", "Third.")
    edit(chat, 2, "Other two?")
    chat.is_done()
    press(chat, "user-3", "Previous version")
    path_is(chat, "user-1", "assistant-1", "user-2", "assistant-2")
    chat.ask("Three?")
    chat.shows_answer("Third.", turn=4)
    assert last_prompt(stack) == ["One?", "First.", "Two?", "Second.", "Three?"]
    path_is(chat, "user-1", "assistant-1", "user-2", "assistant-2", "user-4", "assistant-4")
    press(chat, "user-2", "Next version")
    path_is(chat, "user-1", "assistant-1", "user-3", "assistant-3")


def test_regenerated_answer_is_another_version_of_the_answer(reader: Reader, stack: Stack) -> None:
    chat = answered(reader, stack, ("One?", "First."))
    queue_answers(stack, "First again.")
    press(chat, "assistant-1", "Answer again")
    chat.shows_answer("First again.", turn=2)
    assert last_prompt(stack) == ["One?"]
    shows_versions(chat, "assistant-2", "2/2")
    expect(chat.row("user-2").get_by_role("group")).to_have_count(0)
    press(chat, "assistant-2", "Previous version")
    chat.shows_answer("First.")
    shows_versions(chat, "assistant-1", "1/2")
    path_is(chat, "user-1", "assistant-1")


def test_versions_of_questions_and_answers_are_counted_separately(reader: Reader, stack: Stack) -> None:
    chat = answered(reader, stack, ("A?", "a1"))
    queue_answers(stack, "a2", "b1", "b2")
    press(chat, "assistant-1", "Answer again")
    shows_versions(chat, "assistant-2", "2/2")
    edit(chat, 2, "B?")
    chat.shows_answer("b1", turn=3)
    chat.is_done()
    press(chat, "assistant-3", "Answer again")
    chat.shows_answer("b2", turn=4)
    shows_versions(chat, "user-4", "2/2")
    shows_versions(chat, "assistant-4", "2/2")
    press(chat, "user-4", "Previous version")
    chat.shows_answer("a2", turn=2)
    shows_versions(chat, "user-2", "1/2")
    press(chat, "assistant-2", "Previous version")
    chat.shows_answer("a1")
    shows_versions(chat, "user-1", "1/2")
    shows_versions(chat, "assistant-1", "1/2")


def test_chosen_version_survives_a_reload(reader: Reader, stack: Stack) -> None:
    chat = answered(reader, stack, ("One?", "First."))
    queue_answers(stack, "Other first.")
    edit(chat, 1, "Other one?")
    chat.is_done()
    press(chat, "user-2", "Previous version")
    chat.shows_answer("First.")
    chat.page.reload()
    chat.shows_answer("First.")
    shows_versions(chat, "user-1", "1/2")


def test_another_device_shows_the_newest_version(reader: Reader, readers: Readers, stack: Stack) -> None:
    chat = answered(reader, stack, ("One?", "First."))
    session = chat.page.url.partition("#")[2]
    queue_answers(stack, "Other first.")
    edit(chat, 1, "Other one?")
    chat.is_done()
    other = readers(same_as=reader).open(f"/#{session}")
    other.shows_answer("Other first.", turn=2)
    shows_versions(other, "user-2", "2/2")


def test_retry_keeps_the_failed_answer_as_another_version(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["Half", " of it"], error_after=1))
    chat = reader.open()
    chat.ask("Will you?")
    expect(chat.row("assistant-1").locator(".note")).to_contain_text("The answer failed: ")
    queue_answers(stack, "Whole.")
    press(chat, "assistant-1", "Retry")
    chat.shows_answer("Whole.", turn=2)
    shows_versions(chat, "assistant-2", "2/2")
    press(chat, "assistant-2", "Previous version")
    chat.shows_answer("Half")
    expect(chat.row("assistant-1").locator(".note")).to_contain_text("The answer failed: ")


def test_editing_a_question_interrupts_its_running_answer(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["Half", " of it"], gate=True)
    stack.upstream.answers.extend([answer, Answer(tokens=["Better."])])
    chat = reader.open()
    chat.ask("Long?")
    answer.release()
    chat.shows_answer("Half")
    edit(chat, 1, "Short?")
    chat.shows_answer("Better.", turn=2)
    press(chat, "user-2", "Previous version")
    chat.shows_answer("Half")
    expect(chat.row("assistant-1").locator(".note")).to_have_text("Stopped.")
    wait_until(lambda: stack.upstream.requests[0].disconnected, description="the model's call was cancelled")


@pytest.mark.parametrize("way", ["Escape", "Cancel"])
def test_edit_can_be_cancelled(reader: Reader, stack: Stack, way: str) -> None:
    """Escape in an edit does not stop the running answer."""
    answer = Answer(tokens=["Half", " of it"], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Long?")
    answer.release()
    chat.shows_answer("Half")
    keys = posted_keys(chat.page)
    box = editor(chat, 1)
    box.fill("Something else?")
    if way == "Escape":
        box.press("Escape")
    else:
        press(chat, "user-1", "Cancel")
    expect(box).to_have_count(0)
    chat.shows_question("Long?")
    answer.release_all()
    chat.shows_answer("Half of it")
    expect(chat.row("assistant-1").locator(".note")).to_have_count(0)
    assert keys == []


@pytest.mark.parametrize("key", ["Enter", "Escape"])
def test_key_of_an_input_method_neither_sends_nor_cancels_an_edit(reader: Reader, stack: Stack, key: str) -> None:
    chat = answered(reader, stack, ("天气", "晴。"))
    keys = posted_keys(chat.page)
    box = editor(chat, 1)
    box.fill("")
    press_during_composition(chat.page, key, typed="nihao", chosen="你好")
    expect(box).to_have_value("你好")
    assert keys == []
    queue_answers(stack, "你好。")
    box.press("Enter")
    chat.shows_question("你好", turn=2)


def test_copy_yields_the_exact_source_text(readers: Readers, stack: Stack) -> None:
    source = "# Head\n\n* item **bold**\n\n```py\nx  = 1\n```\n\n$a^2$ <b>&amp;\u200b</b>  \n"
    reader = readers(permissions=["clipboard-read", "clipboard-write"])
    chat = answered(reader, stack, ("  Two\n\n\tlines *here*  ", source))
    press(chat, "user-1", "Copy")
    expect(chat.row("user-1").get_by_text("Copied")).to_have_count(1)
    assert clipboard(chat.page) == "  Two\n\n\tlines *here*  "
    press(chat, "assistant-1", "Copy answer")
    expect(chat.row("assistant-1").get_by_text("Copied")).to_have_count(1)
    assert clipboard(chat.page) == source
    chat.row("assistant-1").locator(".code").get_by_role("button", name="Copy").click()
    expect(chat.row("assistant-1").locator(".code").get_by_role("button")).to_have_text("Copied")
    assert clipboard(chat.page) == "x  = 1\n"


def test_failed_copy_shows_an_error(reader: Reader, stack: Stack) -> None:
    chat = answered(reader, stack, ("One?", "First."))
    chat.page.evaluate(CANNOT_COPY)
    for row in ("user-1", "assistant-1"):
        chat.row(row).get_by_role("button", name="Copy").click()
        # Visible, not only for a screen reader.
        expect(chat.row(row).get_by_text("Could not copy")).to_have_css("clip-path", "none")


def test_shown_path_is_exported_as_markdown(reader: Reader, stack: Stack) -> None:
    """The file name is valid on every file system."""
    chat = answered(reader, stack, ('..What/is: "a\\b"?', "# It\n\nis *so*."), ("Two?", "Second."))
    queue_answers(stack, "Other.")
    edit(chat, 2, "Other two?")
    chat.shows_answer("Other.", turn=3)
    chat.is_done()
    with chat.page.expect_download() as waiting:
        chat.page.get_by_role("button", name="Export as Markdown").click()
    download = waiting.value
    assert download.suggested_filename == "What is a b.md"
    assert Path(download.path()).read_text() == (
        '# ..What/is: "a\\b"?\n\n## You\n\n..What/is: "a\\b"?\n\n## Answer\n\n# It\n\nis *so*.\n\n'
        "## You\n\nOther two?\n\n## Answer\n\nOther.\n"
    )


def test_reasoning_is_collapsed_until_it_is_opened(reader: Reader, stack: Stack) -> None:
    answer = Answer(reasoning=["First", " **this**"], tokens=["So", " it is."], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Why?")
    answer.release()
    reasoning = chat.row("assistant-1").locator(".reasoning")
    expect(reasoning.locator("summary")).to_have_text("Thinking…")
    expect(reasoning.locator(".answer")).to_have_count(0)
    reasoning.locator("summary").click()
    shows(reasoning.locator(".answer"), "First")
    answer.release(2)
    chat.shows_answer("So")
    shows(reasoning.locator(".answer"), "First this")
    expect(reasoning.locator("summary")).to_have_text("Reasoning")
    answer.release_all()
    chat.shows_answer("So it is.")
    chat.is_done()
    chat.page.reload()
    chat.shows_answer("So it is.")
    expect(reasoning.locator(".answer")).to_have_count(0)
    reasoning.locator("summary").click()
    shows(reasoning.locator(".answer"), "First this")
    expect(reasoning.locator("strong")).to_have_text("this")


def test_tool_calls_are_shown_with_their_results(reader: Reader) -> None:
    question = {"turn": 1, "parent": 0, "role": "user", "text": "Weather?", "end": None}
    calls = event_stream(
        ("snapshot", "1.0-0", {"session_id": "x", "state": "streaming", "messages": [question]}),
        ("state", None, {"state": "streaming", "turn": 1, "queued": [], "title": "Weather?", "model": "scripted"}),
        ("start", "1.1-1", {"turn": 1, "attempt": 1, "model": "scripted"}),
        ("tool", "1.1-2", {"id": "c1", "name": "weather", "arguments": '{"city": "Lübeck"}'}),
        ("tool", "1.1-3", {"id": "c2", "name": "clock", "arguments": "{}"}),
        ("tool", "1.1-4", {"id": "c1", "name": "weather", "result": "cold <b>& clear</b>"}),
        ("delta", "1.1-5", {"text": "Cold."}),
    )
    page = reader.new_tab()
    page.route(EVENTS, lambda route: route.fulfill(content_type="text/event-stream", body=calls))
    page.goto("/#0aScriptedScriptedScript00")
    chat = Chat(page)
    chat.shows_answer("Cold.")
    weather, clock = chat.row("assistant-1").locator(".tool").all()
    expect(weather.locator("summary")).to_have_text("Tool: weather")
    expect(clock.locator("summary")).to_have_text("Tool: clock …")
    expect(weather.locator("dd").first).to_be_hidden()
    weather.locator("summary").click()
    expect(weather.locator("dd")).to_have_text(['{"city": "Lübeck"}', "cold <b>& clear</b>"])


def queue_answers(stack: Stack, *texts: str) -> None:
    stack.upstream.answers.extend(Answer(tokens=[text]) for text in texts)


def answered(reader: Reader, stack: Stack, *turns: tuple[str, str]) -> Chat:
    """Open a conversation with these questions and answers."""
    chat = reader.open()
    for turn, (question, answer) in enumerate(turns, 1):
        queue_answers(stack, answer)
        chat.ask(question)
        expect(chat.row(f"assistant-{turn}")).to_have_attribute("data-end", "stop")
    chat.is_done()
    return chat


def press(chat: Chat, row: str, name: str) -> None:
    chat.row(row).locator(":scope > .actions, :scope > .editor").get_by_role("button", name=name).click()


def editor(chat: Chat, turn: int) -> Locator:
    press(chat, f"user-{turn}", "Edit question")
    return chat.row(f"user-{turn}").get_by_role("textbox")


def edit(chat: Chat, turn: int, text: str) -> None:
    box = editor(chat, turn)
    box.fill(text)
    box.press("Enter")


def shows_versions(chat: Chat, row: str, label: str) -> None:
    expect(chat.row(row).get_by_role("group")).to_have_text(label)


def path_is(chat: Chat, *rows: str) -> None:
    expect(chat.rows).to_have_count(len(rows))
    for at, row in enumerate(rows):
        expect(chat.rows.nth(at)).to_have_attribute("data-row", row)


def last_prompt(stack: Stack) -> Sequence[str]:
    """The messages of the last request to the model, without the system message."""
    return [message["content"] for message in stack.upstream.requests[-1].messages if message["role"] != "system"]


def clipboard(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")
