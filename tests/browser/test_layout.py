"""The layout in narrow and wide windows: wide content scrolls by itself, and the page does not."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Readers
from tests.browser.sample_conversation import SESSION, expand_sample, open_sample, serve_sample

pytestmark = pytest.mark.needs_chromium

# A phone, and a small one.
PHONES: dict[str, dict[str, Any]] = {
    "390": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
    "320": {"viewport": {"width": 320, "height": 568}, "has_touch": True, "is_mobile": True},
}
# A desktop window zoomed to 400 % (WCAG 2.2, 1.4.10), and a very wide one.
SCREENS: dict[str, dict[str, Any]] = PHONES | {
    "400%": {"viewport": {"width": 320, "height": 256}},
    "2560": {"viewport": {"width": 2560, "height": 1440}},
}
TOO_WIDE = """() => [...document.querySelectorAll('html, body, header, main, footer, nav, #sessions, dialog')]
  .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth).map(({ localName }) => localName)"""
# Links within text may be small (WCAG 2.2, 2.5.8), and a disabled input is no target.
SMALL_TARGETS = """() => [...document.querySelectorAll('button, a, input:enabled, select, textarea, summary')]
  .filter((element) => element.checkVisibility({ opacityProperty: true }))
  .filter((element) => element.closest('p, li')?.closest('.text') == null)
  .filter((element) => { const { width, height } = element.getBoundingClientRect(); return width < 24 || height < 24; })
  .map((element) => element.outerHTML)"""
SMALL_FONTS = """() => [...document.querySelectorAll('input:not([type=checkbox]), select, textarea')]
  .filter((element) => parseFloat(getComputedStyle(element).fontSize) < 16).map((element) => element.outerHTML)"""


@pytest.mark.parametrize("screen", SCREENS)
def test_page_never_scrolls_horizontally(readers: Readers, screen: str) -> None:
    for page in page_states(readers(**SCREENS[screen]).new_tab()):
        assert page.evaluate(TOO_WIDE) == []
        assert page.evaluate("innerWidth") == SCREENS[screen]["viewport"]["width"]


@pytest.mark.parametrize("screen", PHONES)
def test_controls_are_large_enough_to_touch_and_text_boxes_do_not_zoom(readers: Readers, screen: str) -> None:
    """Safari zooms in on a text box whose font is smaller than 16 px, and does not zoom out again."""
    for page in page_states(readers(**PHONES[screen]).new_tab()):
        assert page.evaluate(SMALL_TARGETS) == []
        assert page.evaluate(SMALL_FONTS) == []


def test_actions_of_a_row_are_visible_on_a_touch_screen(readers: Readers) -> None:
    page = readers(**PHONES["390"]).new_tab()
    serve_sample(page)
    open_sample(page)
    for button in page.locator(".row .actions button:enabled").all():
        expect(button).to_have_css("opacity", "1")


@pytest.mark.parametrize("screen", SCREENS)
def test_text_box_stays_in_the_viewport(readers: Readers, screen: str) -> None:
    """The page is as high as the visible viewport, which changes with the toolbars of a phone's browser."""
    page = readers(**SCREENS[screen]).new_tab()
    serve_sample(page)
    open_sample(page)
    expect(page.locator("#text")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.querySelector('.page').getBoundingClientRect().height === innerHeight")
    heights = "[...document.styleSheets].flatMap(({ cssRules }) => [...cssRules]).filter(({ selectorText }) => selectorText === '.page').map(({ style }) => style.height)"  # noqa: E501
    assert page.evaluate(heights) == ["100dvh"]


def test_wide_window_limits_the_line_length(readers: Readers) -> None:
    page = readers(**SCREENS["2560"]).new_tab()
    serve_sample(page)
    open_sample(page)
    box = page.locator('[data-row="assistant-1"] .text').bounding_box()
    assert box is not None
    assert box["width"] <= 800
    middle = box["x"] + box["width"] / 2
    main = page.locator("main").bounding_box()
    assert main is not None
    assert abs(middle - (main["x"] + main["width"] / 2)) < 2


def test_list_on_a_phone_closes_on_selection_outside_tap_and_escape(readers: Readers) -> None:
    page = readers(**PHONES["390"]).new_tab()
    serve_sample(page)
    page.goto("/")
    show = page.get_by_role("button", name="Show the conversations")
    sidebar = page.locator("#sidebar")
    expect(sidebar).to_have_count(0)
    show.tap()
    expect(sidebar).to_be_visible()
    page.touchscreen.tap(380, 400)
    expect(sidebar).to_have_count(0)
    show.tap()
    page.get_by_role("searchbox").focus()
    page.keyboard.press("Escape")
    expect(sidebar).to_have_count(0)
    expect(show).to_be_focused()
    show.tap()
    page.locator("#sessions a").first.tap()
    expect(sidebar).to_have_count(0)
    expect(page.locator('[data-row="user-1"]')).to_be_visible()


def page_states(page: Page) -> Iterator[Page]:
    """Put the page into each of its states, one after the other."""
    serve_sample(page)
    page.goto("/")
    expect(page.locator("#welcome")).to_be_visible()
    yield page
    if page.locator("#sidebar").count() == 0:
        page.locator("header button").first.click()
    expect(page.locator("#sessions a").last).to_be_visible()
    yield page
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog")).to_be_visible()
    yield page
    page.keyboard.press("Escape")
    page.locator("#sessions a").first.click()
    expand_sample(page)
    yield page
    page.locator('[data-row="user-1"] .actions button').first.click()
    expect(page.locator(".editor textarea")).to_be_visible()
    yield page
    page.keyboard.press("Escape")
    page.locator("header button").nth(1).click()
    expect(page.locator(".share-link input")).not_to_have_value("")
    yield page
    page.goto(f"/#{SESSION}/capability")
    expect(page.locator(".shared")).to_be_visible()
    yield page
