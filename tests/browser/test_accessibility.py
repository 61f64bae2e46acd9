"""Accessibility: axe, keyboard, screen reader, colours and motion."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chat import Chat, Reader, Readers
from tests.browser.sample_conversation import SESSION, expand_sample, open_sample, serve_sample
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

AXE = Path(__file__).parent.parent.parent / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ['violations'] });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}"""  # noqa: E501
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
# The focusable elements, in document order.
FOCUSABLE = """() => {
  const all = 'a[href], button:enabled, input:enabled, select, textarea, summary, [tabindex="0"]';
  return [...document.querySelectorAll(all)].map((element, at) => {
    element.dataset.at = String(at);
    return element.outerHTML.slice(0, 99);
  });
}"""
# The focused element, and whether its focus is visible. For two text boxes, the frame around them is coloured instead.
FOCUSED = """() => {
  const { activeElement: element } = document;
  if (element === null || element === document.body) return null;
  const frame = element.closest('.composer, .search');
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const isOutlined = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
  const isFramed = element.matches('textarea, input') && frame !== null && getComputedStyle(frame).borderColor === accent();
  const { opacity } = getComputedStyle(element.closest('.session-actions') ?? element);
  return { at: element.dataset.at, name: element.outerHTML.slice(0, 120), isSeen: (isOutlined || isFramed) && opacity === '1' };
  function accent() {
    const probe = document.body.appendChild(document.createElement('p'));
    probe.style.color = 'var(--accent)';
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }
}"""  # noqa: E501
RECORD_ANNOUNCEMENTS = """() => {
  window.announcements = [];
  const { announcer } = window;
  const record = () => announcer.textContent !== '' && announcements.push(announcer.textContent);
  new MutationObserver(record).observe(announcer, { childList: true, characterData: true, subtree: true });
}"""


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en", "zh-CN"])
def test_axe_finds_no_violation(readers: Readers, device: dict[str, Any], scheme: str, locale: str) -> None:
    page = readers(**device, color_scheme=scheme, locale=locale, reduced_motion="reduce").new_tab()
    is_phone = device is PHONE
    serve_sample(page)
    page.goto("/")
    expect(page.locator("#welcome")).to_be_visible()
    page.evaluate(AXE.read_text())
    violations = {"the empty page": axe_violations(page)}
    if is_phone:
        page.locator("header button").first.click()
        expect(page.locator("#sessions a").last).to_be_visible()
        violations["the list over the conversation"] = axe_violations(page)
    page.keyboard.press("Control+/")
    violations["the shortcuts dialog"] = axe_violations(page)
    page.keyboard.press("Escape")
    page.locator(".session").first.hover()
    page.locator(".session-actions button").nth(1).click()
    violations["the delete dialog"] = axe_violations(page)
    page.keyboard.press("Escape")
    page.locator(".session-actions button").first.click()
    violations["a rename"] = axe_violations(page)
    page.keyboard.press("Escape")
    page.locator("#sessions a").first.click()
    expand_sample(page)
    violations["a conversation"] = axe_violations(page)
    page.locator('[data-row="user-1"] .actions button').first.click()
    violations["an edit"] = axe_violations(page)
    page.keyboard.press("Escape")
    page.locator("header button").nth(1).click()
    expect(page.locator(".share-link input")).not_to_have_value("")
    violations["the share dialog"] = axe_violations(page)
    page.goto(f"/#{SESSION}/capability")
    expect(page.locator(".shared")).to_be_visible()
    violations["a shared conversation"] = axe_violations(page)
    assert "\n".join(f"{where}: {violation}" for where, found in violations.items() for violation in found) == ""


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_tab_reaches_every_control_with_a_visible_focus(readers: Readers, device: dict[str, Any]) -> None:
    page = readers(**device, reduced_motion="reduce").new_tab()
    serve_sample(page)
    open_sample(page)
    # This button disappears at the bottom, so it is not expected.
    page.get_by_role("button", name="Newest words").click()
    expected = page.evaluate(FOCUSABLE)
    for key in ("Tab", "Shift+Tab"):
        reached: list[str] = []
        for _ in range(2 * len(expected)):
            page.keyboard.press(key)
            focused = page.evaluate(FOCUSED)
            if focused is None or focused["at"] is None:
                continue  # the window itself, or a scroll container
            assert focused["isSeen"], focused["name"]
            assert focused["at"] not in reached, [html for at, html in enumerate(expected) if str(at) not in reached]
            reached.append(focused["at"])
            if len(reached) == len(expected):
                break
        assert sorted(reached, key=int) == [str(at) for at in range(len(expected))]


def test_conversation_can_be_edited_by_keyboard_alone(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.extend([Answer(tokens=["One."]), Answer(tokens=["Two."]), Answer(tokens=["Three."])])
    chat = reader.open()
    expect(chat.text_box).to_be_focused()
    chat.page.keyboard.type("First?")
    chat.page.keyboard.press("Enter")
    chat.shows_answer("One.")
    chat.is_done()
    press_focused(chat, chat.row("user-1").get_by_role("button", name="Edit question"))
    chat.page.keyboard.press("Control+a")
    chat.page.keyboard.type("Second?")
    chat.page.keyboard.press("Enter")
    chat.shows_answer("Two.", turn=2)
    expect(chat.text_box).to_be_focused()
    chat.is_done()
    press_focused(chat, chat.row("user-2").get_by_role("button", name="Previous version"))
    chat.shows_answer("One.")
    expect(chat.row("user-1").get_by_role("button", name="Next version")).to_be_focused()
    chat.page.keyboard.press("Enter")
    expect(chat.row("user-2").get_by_role("button", name="Previous version")).to_be_focused()
    chat.page.keyboard.press("Enter")
    press_focused(chat, chat.row("assistant-1").get_by_role("button", name="Answer again"))
    chat.shows_answer("Three.", turn=3)
    expect(chat.text_box).to_be_focused()


def test_cancelled_edit_returns_the_focus_to_its_button(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    edit = chat.row("user-1").get_by_role("button", name="Edit question")
    press_focused(chat, edit)
    expect(chat.row("user-1").get_by_role("textbox")).to_be_focused()
    chat.page.keyboard.press("Escape")
    expect(edit).to_be_focused()


def test_dialog_traps_the_focus_and_restores_it(reader: Reader) -> None:
    chat = reader.open()
    page = chat.page
    chat.ask("First?")
    chat.is_done()
    dialog = page.get_by_role("dialog")
    openers = {
        page.get_by_role("button", name="Keyboard shortcuts"): "Close",
        page.get_by_role("button", name="Delete: First?"): "Cancel",
    }
    for opener, name in openers.items():
        for close in ("Escape", name):
            opener.focus()
            page.keyboard.press("Enter")
            expect(dialog).to_be_visible()
            for _ in range(4):
                page.keyboard.press("Tab")
                outside = page.evaluate("document.activeElement.closest('dialog') ?? document.activeElement.localName")
                assert outside != "button", "the focus left the dialog"
            if close == "Escape":
                page.keyboard.press("Escape")
            else:
                dialog.get_by_role("button", name=name).press("Enter")
            expect(dialog).to_have_count(0)
            expect(opener).to_be_focused()


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_dialog_reopened_at_once_stays_open(reader: Reader, way: str) -> None:
    """The close event of the first dialog arrives later. `requestClose` does what the Escape key does."""
    page = reader.open().page
    expect(page.locator("#welcome")).to_be_visible()
    page.evaluate(
        """async (way) => {
      const drawn = async (selector) => {
        while (document.querySelector(selector) === null) await null;
        return document.querySelector(selector);
      };
      const opener = document.querySelector('.settings button');
      opener.click();
      const dialog = await drawn('dialog[open]');
      if (way === 'Escape') dialog.requestClose();
      else dialog.querySelector('button').click();
      await drawn('body:not(:has(dialog[open]))');
      opener.click();
      await drawn('dialog');
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    }""",
        way,
    )
    expect(page.get_by_role("dialog")).to_be_visible()


def test_screen_reader_announces_start_and_end_but_not_every_token(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["word"] + [" word"] * 19, gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    expect(chat.text_box).to_be_visible()
    chat.page.evaluate(RECORD_ANNOUNCEMENTS)
    chat.ask("Say it")
    for count in (5, 10, 15):
        answer.release(5)
        chat.shows_answer("".join(answer.tokens[:count]))
    answer.release_all()
    chat.shows_answer(answer.text)
    chat.is_done()
    assert chat.page.evaluate("announcements") == ["Answering", "Done"]


def test_screen_reader_announces_why_an_answer_failed(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["Half", " of it"], error_after=1))
    chat = reader.open()
    chat.ask("Will you?")
    expect(chat.page.locator("#announcer")).to_have_text(
        "The answer failed: the model’s server failed. (The scripted model broke.)"
    )


def test_screen_reader_announces_a_lost_and_restored_connection(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("There?")
    chat.is_done()
    announcer = chat.page.locator("#announcer")
    stack.kill_server()
    expect(announcer).to_have_text("Connection lost")
    stack.start_server()
    expect(announcer).to_have_text("Connected again")


def test_colour_scheme_follows_the_system_unless_one_is_chosen(reader: Reader) -> None:
    page, other = reader.open().page, reader.open().page
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert is_dark(page) == (scheme == "dark")
    box = page.get_by_role("combobox", name="Colours")
    box.select_option("Dark")
    for each in (page, other):
        expect(each.locator("html")).to_have_attribute("data-theme", "dark")
        assert is_dark(each)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert is_dark(page)
    box.select_option("Light")
    page.emulate_media(color_scheme="dark")
    assert not is_dark(page)


def test_reduced_motion_shows_text_at_once_without_animation(readers: Readers, stack: Stack) -> None:
    moving = "document.getAnimations().length > 0"
    for motion in ("no-preference", "reduce"):
        answer = Answer(tokens=["begun", " and on" * 200], gate=True)
        stack.upstream.answers.append(answer)
        chat = readers(reduced_motion=motion).open()
        chat.ask("Slow?")
        answer.release()
        chat.shows_answer("begun")
        chat.page.evaluate("""() => {
          window.seen = new Set();
          new MutationObserver(() => seen.add(document.querySelector('.reply .text').textContent.length))
            .observe(document.querySelector('.reply'), { childList: true, characterData: true, subtree: true });
        }""")
        assert chat.page.evaluate(moving) == (motion == "no-preference")
        answer.release_all()
        chat.shows_answer(answer.text)
        between: set[int] = set(chat.page.evaluate("[...seen]")) - {len("begun"), len(answer.text)}
        assert bool(between) == (motion == "no-preference")


def axe_violations(page: Page) -> list[str]:
    return page.evaluate(RUN_AXE)


def press_focused(chat: Chat, button: Locator) -> None:
    """Press a button by keyboard: it must be visible without hovering."""
    button.focus()
    expect(button).to_have_css("opacity", "1")
    assert chat.page.evaluate(FOCUSED)["isSeen"]
    chat.page.keyboard.press("Enter")


def is_dark(page: Page) -> bool:
    """Whether the background is dark."""
    background: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(",")) < 384
