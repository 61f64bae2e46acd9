"""Keyboard, touch and wheel: sending, stopping, shortcuts, the selection and automatic scrolling."""

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.chat import Chat, Reader, Readers, posted_keys
from tests.browser.input_method import press_during_composition
from tests.support.processes import Stack
from tests.support.upstream import Answer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs_chromium

PHONE: dict[str, Any] = {"has_touch": True, "is_mobile": True, "viewport": {"width": 390, "height": 844}}

# An Enter of an input method, of which only `isComposing` or only the key code shows it (W3C UI Events, 5.1).
PRESS_ENTER = """(box, signs) => {
  const enter = { key: 'Enter', code: 'Enter', bubbles: true, cancelable: true, ...signs };
  return box.dispatchEvent(new KeyboardEvent('keydown', enter));
}"""

# Selects the beginning of the first text node of the answer.
SELECT_START = """(answer, length) => {
  const text = document.createTreeWalker(answer, NodeFilter.SHOW_TEXT).nextNode();
  getSelection().setBaseAndExtent(text, 0, text, length);
}"""

# The paragraph in the middle of the viewport, and its distance from the top of the window. `scrollTop` would not do: it
# changes when the browser lays out paragraphs that were out of view.
VISIBLE_PARAGRAPH = """(scroller) => {
  const { left, top, width, height } = scroller.getBoundingClientRect();
  for (let down = 0; ; down += 5) {
    const found = document.elementFromPoint(left + width / 2, top + height / 2 + down).closest('p');
    if (found !== null) return [found.textContent, Math.round(found.getBoundingClientRect().top)];
  }
}"""
# Turns the wheel in the frame in which the page has scrolled by itself. Its scroll event comes in the next frame.
WHEEL_BEFORE_SCROLL_EVENT = """(scroller) => new Promise((resolve) => {
  const observer = new MutationObserver(() => {
    if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight > 1) return;
    observer.disconnect();
    scroller.dispatchEvent(new WheelEvent('wheel', { deltaY: -1, bubbles: true }));
    resolve();
  });
  observer.observe(scroller, { childList: true, characterData: true, subtree: true });
})"""

# Turns the wheel up, then makes the question higher, so that scroll anchoring scrolls down.
WHEEL_AND_GROW_ABOVE = """(scroller) => new Promise((resolve) => {
  scroller.dispatchEvent(new WheelEvent('wheel', { deltaY: -1, bubbles: true }));
  scroller.addEventListener('scroll', () => resolve(), { once: true });
  scroller.querySelector('.question').style.paddingTop = '30px';
})"""

# Clicks a button or presses a shortcut, and returns where the next character would go as soon as `shown` matches: after
# the render that shows it, and before anything else.
ACT_AND_FIND_CARET = """({ click, press, shown }) => new Promise((resolve) => {
  new MutationObserver(() => {
    if (document.querySelector(shown) === null) return;
    const { ariaLabel, labels, value, selectionStart, selectionEnd } = document.activeElement;
    resolve([ariaLabel ?? labels?.[0]?.textContent, value?.slice(0, selectionStart), value?.slice(selectionEnd)]);
  }).observe(document, { childList: true, subtree: true });
  if (click) document.querySelector(`[aria-label="${click}"]`).click();
  else document.body.dispatchEvent(new KeyboardEvent('keydown', { ctrlKey: true, bubbles: true, ...press }));
})"""


def test_enter_sends_and_shift_enter_inserts_a_line_break(reader: Reader) -> None:
    chat = reader.open()
    chat.text_box.press_sequentially("one")
    chat.text_box.press("Shift+Enter")
    chat.text_box.press_sequentially("two")
    expect(chat.text_box).to_have_value("one\ntwo")
    chat.text_box.press("Enter")
    chat.shows_question("one\ntwo")
    expect(chat.text_box).to_have_value("")
    expect(chat.text_box).to_be_focused()


def test_enter_of_an_input_method_does_not_send(reader: Reader) -> None:
    chat = reader.open()
    keys = posted_keys(chat.page)
    chat.text_box.focus()
    press_during_composition(chat.page, "Enter", typed="ni", chosen="你")
    expect(chat.text_box).to_have_value("你")
    chat.text_box.press_sequentially("好")
    for signs in ({"isComposing": True, "keyCode": 13}, {"isComposing": False, "keyCode": 229}):
        assert chat.text_box.evaluate(PRESS_ENTER, signs), "the page prevented the default of the input method"
    expect(chat.text_box).to_have_value("你好")
    chat.text_box.press("Enter")
    chat.shows_question("你好")
    assert len(keys) == 1


def test_enter_inserts_a_line_break_on_a_touch_screen(readers: Readers) -> None:
    """A touch keyboard has no Shift+Enter, so a button sends."""
    chat = readers(**PHONE).open()
    keys = posted_keys(chat.page)
    chat.text_box.tap()
    chat.text_box.press_sequentially("one")
    chat.text_box.press("Enter")
    chat.text_box.press_sequentially("two")
    expect(chat.text_box).to_have_value("one\ntwo")
    chat.page.get_by_role("button", name="Send").tap()
    chat.shows_question("one\ntwo")
    chat.is_done()
    assert len(keys) == 1


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_stopped_answer_keeps_its_text(reader: Reader, stack: Stack, way: str) -> None:
    chat = start_answer(reader, stack, Answer(tokens=["Half", " of it"], gate=True))
    if way == "Escape":
        chat.text_box.press("Escape")
    else:
        button(chat, "Stop").click()
    expect(chat.row("assistant-1").locator(".note")).to_have_text("Stopped.")
    expect(chat.row("assistant-1")).to_have_attribute("data-end", "stopped")
    chat.is_done()
    chat.shows_answer("Half")
    expect(button(chat, "Stop")).to_have_count(0)
    wait_until(lambda: stack.upstream.requests[0].disconnected, description="the model's call was cancelled")
    chat.page.reload()
    chat.shows_answer("Half")
    expect(chat.row("assistant-1").locator(".note")).to_have_text("Stopped.")


def test_escape_with_another_purpose_does_not_stop_the_answer(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["Half", " of it"], gate=True)
    chat = start_answer(reader, stack, answer)
    press_during_composition(chat.page, "Escape", typed="ni", chosen="你")
    chat.page.keyboard.press("Control+/")
    expect(chat.page.get_by_role("dialog")).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
    chat.page.keyboard.press("Shift+Escape")
    answer.release_all()
    chat.shows_answer(answer.text)
    expect(chat.row("assistant-1")).to_have_attribute("data-end", "stop")


def test_failed_stop_shows_an_error_and_can_be_retried(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["Half", " of it"], gate=True)
    chat = start_answer(reader, stack, answer)
    chat.page.route("**/stop", lambda route: route.abort())
    button(chat, "Stop").click()
    expect(chat.page.get_by_role("alert")).to_have_text("Stop did not work. The server cannot be reached.")
    chat.page.unroute_all()
    button(chat, "Stop").click()
    expect(chat.row("assistant-1")).to_have_attribute("data-end", "stopped")
    expect(chat.page.get_by_role("alert")).to_have_count(0)


def test_arrow_up_edits_the_last_question_only_from_an_empty_text_box(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.extend([Answer(tokens=["One."]), Answer(tokens=["Two."])])
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    chat.text_box.fill("one\ntwo")
    chat.text_box.press("ArrowUp")
    chat.text_box.press_sequentially("!")
    expect(chat.text_box).to_have_value("one!\ntwo")
    chat.text_box.fill("")
    chat.text_box.press("ArrowUp")
    box = chat.row("user-1").get_by_role("textbox")
    expect(box).to_be_focused()
    box.press("Escape")
    expect(chat.text_box).to_be_focused()
    chat.text_box.press("ArrowUp")
    box.press_sequentially(" Really?")
    box.press("Enter")
    chat.shows_question("First? Really?", turn=2)
    chat.shows_answer("Two.", turn=2)
    expect(chat.rows).to_have_count(2)
    expect(chat.text_box).to_be_focused()


def test_focus_moves_in_the_render_that_shows_its_target(reader: Reader) -> None:
    """Keys that the user presses at once go to the right box, and the caret does not jump under them."""
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    button(chat, "Hide the conversations").click()
    for action, shown, caret in (
        ({"click": "Edit question"}, ".editor textarea", ["Edit question", "First?", ""]),
        ({"press": {"key": "k"}}, "#search", ["Search conversations", "", ""]),
    ):
        assert chat.page.evaluate(ACT_AND_FIND_CARET, action | {"shown": shown}) == caret


def test_shortcuts_open_a_new_chat_and_focus_the_text_box(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    chat.page.keyboard.press("Control+Shift+O")
    expect(chat.rows).to_have_count(0)
    expect(chat.text_box).to_be_focused()
    assert chat.session == ""
    button(chat, "Keyboard shortcuts").focus()
    chat.page.keyboard.press("Shift+Escape")
    expect(chat.text_box).to_be_focused()


@pytest.mark.parametrize("is_shown", [True, False], ids=["shown", "hidden"])
def test_shortcut_focuses_the_search_of_a_shown_or_hidden_list(reader: Reader, is_shown: bool) -> None:
    chat = reader.open()
    expect(chat.text_box).to_be_focused()
    if not is_shown:
        button(chat, "Hide the conversations").click()
        expect(chat.page.get_by_role("searchbox")).to_have_count(0)
    chat.page.keyboard.press("Control+k")
    expect(chat.page.get_by_role("searchbox")).to_be_focused()


def test_shortcut_focuses_the_search_on_a_touch_screen(readers: Readers) -> None:
    """On a tablet with a keyboard, the list lies over the conversation."""
    chat = readers(**PHONE).open()
    chat.text_box.tap()
    expect(chat.page.get_by_role("searchbox")).to_have_count(0)
    chat.page.keyboard.press("Control+k")
    expect(chat.page.get_by_role("searchbox")).to_be_focused()


def test_shortcut_lists_the_shortcuts_and_restores_the_focus(reader: Reader) -> None:
    chat = reader.open()
    expect(chat.text_box).to_be_focused()
    chat.page.keyboard.press("Control+/")
    dialog = chat.page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog.locator("dt")).to_have_count(8)
    chat.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(chat.text_box).to_be_focused()


def test_selection_survives_while_the_answer_grows(reader: Reader, stack: Stack) -> None:
    """Also when it ends at the last word of the answer so far."""
    answer = Answer(tokens=["Copy this", " and", " more.\n\nAnd ", "a second", " paragraph"], gate=True)
    chat = start_answer(reader, stack, answer)
    chat.shows_answer("Copy this")
    chat.answer().evaluate(SELECT_START, len("Copy this"))
    for count in range(2, 6):
        answer.release()
        chat.shows_answer("".join(answer.tokens[:count]).replace("\n\n", "").rstrip())
        assert chat.page.evaluate("getSelection().toString()") == "Copy this"
    answer.release_all()
    chat.is_done()
    assert chat.page.evaluate("getSelection().toString()") == "Copy this"


def test_auto_scroll_follows_the_answer_only_from_the_bottom(reader: Reader, stack: Stack) -> None:
    chat, answer = start_long_answer(reader, stack)
    newest = button(chat, "Newest words")
    expect(newest).to_have_count(0)
    scroller(chat).hover()
    chat.page.mouse.wheel(0, -200)
    expect(newest).to_be_visible()
    position = reading_position(chat)
    answer.release(50)
    expect(chat.answer()).to_contain_text("line 149")
    has_not_moved(chat, position)
    newest.click()
    is_at_bottom(chat)
    expect(newest).to_have_count(0)
    answer.release_all()
    expect(chat.answer()).to_contain_text("line 199")
    is_at_bottom(chat)


def test_wheel_stops_auto_scroll_while_tokens_stream_fast(reader: Reader, stack: Stack) -> None:
    """The page must not take its own scrolling for the user's."""
    stack.upstream.answers.append(paragraphs(100_000, delay=0.002))
    chat = reader.open()
    chat.ask("Fast?")
    expect(chat.answer()).to_contain_text("line 99")
    is_at_bottom(chat)
    scroller(chat).evaluate(WHEEL_BEFORE_SCROLL_EVENT)
    position = reading_position(chat)
    newest = button(chat, "Newest words")
    expect(newest).to_be_visible()
    has_not_moved(chat, position)
    newest.click()
    is_at_bottom(chat)
    scroller(chat).hover()
    chat.page.mouse.wheel(0, -120)
    expect(newest).to_be_visible()
    position = reading_position(chat)
    has_not_moved(chat, position)
    button(chat, "Stop").click()


def test_scroll_anchoring_does_not_restart_auto_scroll(reader: Reader, stack: Stack) -> None:
    """The browser scrolls when content above the viewport changes its height (CSS Scroll Anchoring)."""
    chat, answer = start_long_answer(reader, stack)
    scroller(chat).evaluate(WHEEL_AND_GROW_ABOVE)
    rest_does_not_scroll(chat, answer)


def test_smallest_wheel_step_stops_auto_scroll(reader: Reader, stack: Stack) -> None:
    chat, answer = start_long_answer(reader, stack)
    scroller(chat).hover()
    chat.page.mouse.wheel(0, -3)
    rest_does_not_scroll(chat, answer)


def test_new_question_scrolls_into_view(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(paragraphs(60))
    chat = reader.open()
    chat.ask("Much?")
    chat.is_done()
    scroller(chat).hover()
    chat.page.mouse.wheel(0, -1000)
    expect(button(chat, "Newest words")).to_be_visible()
    chat.ask("And?")
    expect(chat.question(2)).to_be_in_viewport()
    chat.is_done()
    is_at_bottom(chat)


def start_answer(reader: Reader, stack: Stack, answer: Answer) -> Chat:
    """Start an answer, which waits at its gate after the first token."""
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Long?")
    answer.release()
    chat.shows_answer(answer.tokens[0])
    return chat


def start_long_answer(reader: Reader, stack: Stack) -> tuple[Chat, Answer]:
    """Start an answer of 200 lines, which waits at its gate after line 99 with the newest words in view."""
    answer = paragraphs(200, gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Much?")
    answer.release(100)
    expect(chat.answer()).to_contain_text("line 99")
    is_at_bottom(chat)
    return chat, answer


def rest_does_not_scroll(chat: Chat, answer: Answer) -> None:
    """Let an answer of `start_long_answer` grow to its end, which must not move what is in view."""
    position = reading_position(chat)
    answer.release_all()
    expect(chat.answer()).to_contain_text("line 199")
    has_not_moved(chat, position)


def paragraphs(count: int, *, gate: bool = False, delay: float = 0) -> Answer:
    return Answer(tokens=[f"line {number}\n\n" for number in range(count)], gate=gate, delay=delay)


def button(chat: Chat, name: str) -> Locator:
    return chat.page.get_by_role("button", name=name, exact=True)


def scroller(chat: Chat) -> Locator:
    return chat.page.locator("#scroller")


def is_at_bottom(chat: Chat) -> None:
    below = "(e) => e.scrollHeight - e.scrollTop - e.clientHeight"
    wait_until(lambda: scroller(chat).evaluate(below) <= 1, description="the page is scrolled to the bottom")


def has_not_moved(chat: Chat, position: tuple[str, int]) -> None:
    """Compare with a tolerance, since the browser rounds positions."""
    text, top = reading_position(chat)
    assert text == position[0]
    assert abs(top - position[1]) <= 2


def reading_position(chat: Chat) -> tuple[str, int]:
    """The paragraph in the middle of the viewport and its position, once the page has stopped scrolling."""
    still = f"""(scroller) => new Promise((resolve) => {{
      const read = {VISIBLE_PARAGRAPH};
      let before = '';
      let still = 0;
      const check = (left) => {{
        const now = read(scroller);
        still = String(now) === before ? still + 1 : 0;
        before = String(now);
        if (still > 20 || left === 0) resolve(now);
        else requestAnimationFrame(() => check(left - 1));
      }};
      check(300);
    }})"""
    text, top = scroller(chat).evaluate(still)
    return text, top
