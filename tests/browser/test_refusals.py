"""The page shows the exact reason of a refusal or failure, and stays usable."""

from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.chat import Chat, Reader
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

# From a proxy (any body), from the server (docs/protocol.md), or None: the connection breaks.
REFUSALS: dict[str, tuple[int | None, Any, str]] = {
    "a login page": (401, "<h1>Sign in</h1>", "The server answered 401."),
    "a proxy's limit": (413, "<h1>Too large</h1>", "The server answered 413."),
    "a proxy's patience": (429, "slow down", "The server answered 429."),
    "a defect": (500, {"error": {"code": "internal", "message": "m"}}, "The server failed; its log says why."),
    "no Redis": (
        503,
        {"error": {"code": "store_unavailable", "message": "m"}},
        "The log cannot be reached right now.",
    ),
    "another code": (418, {"error": {"code": "new", "message": "Do that instead."}}, "Do that instead."),
    "nobody": (None, None, "The server cannot be reached."),
}
GONE = (404, {"error": {"code": "not_found", "message": "m"}}, "This conversation is not here any more.")


@dataclass
class Faults:
    """Answer the requests of one method to one address like this, until the test changes it."""

    page: Page
    method: str
    pattern: str
    reply: tuple[int | None, Any, str] | None = None

    def __post_init__(self) -> None:
        self.page.route(self.pattern, self._answer)

    def _answer(self, route: Route) -> None:
        if self.reply is None or route.request.method != self.method:
            return route.fallback()
        status, body, _ = self.reply
        if status is None:
            return route.abort()
        if isinstance(body, str):
            return route.fulfill(status=status, body=body, content_type="text/html")
        return route.fulfill(status=status, json=body)


def test_a_refused_list_says_why_until_it_loads(reader: Reader) -> None:
    chat = begun(reader)
    faults = Faults(chat.page, "GET", "**/sessions")
    note = chat.page.locator("#sidebar").get_by_role("alert")
    for faults.reply in REFUSALS.values():
        look_again(chat.page)
        expect(note).to_have_text(f"The list could not be loaded. {faults.reply[2]}")
        expect(chat.page.locator("#sessions a")).to_have_text("Hello?")
    faults.reply = None
    look_again(chat.page)
    expect(note).to_have_count(0)


def test_a_refused_name_is_not_shown_and_says_why(reader: Reader) -> None:
    chat = begun(reader)
    faults = Faults(chat.page, "PATCH", "**/sessions/*")
    for faults.reply in (*REFUSALS.values(), GONE):
        rename(chat.page, "Other")
        expect(said(chat.page)).to_have_text(f"Rename did not work. {faults.reply[2]}")
        expect(chat.page.locator("#sessions a")).to_have_text("Hello?")
        said(chat.page).get_by_role("button", name="Close").click()
        expect(said(chat.page)).to_have_count(0)
    faults.reply = None
    rename(chat.page, "Other")
    expect(chat.page.locator("#sessions a")).to_have_text("Other")
    expect(chat.page.get_by_role("heading", level=1)).to_have_text("Other")


def test_a_conversation_that_cannot_be_deleted_stays_and_says_why(reader: Reader) -> None:
    chat = begun(reader)
    faults = Faults(chat.page, "DELETE", "**/sessions/*")
    for faults.reply in REFUSALS.values():
        remove(chat.page)
        expect(said(chat.page)).to_have_text(f"Delete did not work. {faults.reply[2]}")
        expect(chat.page.locator("#sessions a")).to_have_text("Hello?")
        chat.shows_question("Hello?")
    faults.reply = None
    remove(chat.page)
    expect(chat.page.locator("#sessions a")).to_have_count(0)
    expect(said(chat.page)).to_have_count(0)


def test_a_conversation_deleted_elsewhere_first_counts_as_deleted(reader: Reader) -> None:
    chat = begun(reader)
    Faults(chat.page, "DELETE", "**/sessions/*", GONE)
    remove(chat.page)
    expect(chat.page.locator("#welcome")).to_be_visible()
    expect(said(chat.page)).to_have_count(0)


def test_a_refused_stop_says_why_and_can_be_repeated(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["Half", " of it"], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Long?")
    answer.release()
    chat.shows_answer("Half")
    faults = Faults(chat.page, "POST", "**/stop")
    stop = chat.page.get_by_role("button", name="Stop", exact=True)
    for faults.reply in (*REFUSALS.values(), GONE):
        stop.click()
        expect(said(chat.page)).to_have_text(f"Stop did not work. {faults.reply[2]}")
    faults.reply = None
    stop.click()
    expect(chat.row("assistant-1").locator(".note")).to_have_text("Stopped.")
    expect(said(chat.page)).to_have_count(0)


def test_a_refused_stream_is_retried_and_a_missing_one_is_not(reader: Reader) -> None:
    chat = begun(reader)
    stream, whether = Faults(chat.page, "GET", "**/sessions/*/events*"), Faults(chat.page, "GET", "**/sessions/*")
    for reply in REFUSALS.values():
        stream.reply = whether.reply = reply
        chat.page.reload()
        expect(chat.status).to_have_attribute("data-connection", "waiting")
        said_so = "Connection lost. Reconnecting" if reply[0] is None else f"{reply[2]} Trying again in "
        expect(chat.status).to_contain_text(said_so)
    stream.reply = whether.reply = None
    expect(chat.status).to_have_attribute("data-connection", "live")
    chat.shows_question("Hello?")
    stream.reply = whether.reply = GONE
    chat.page.reload()
    expect(chat.status).to_contain_text("This conversation is not here: it was deleted")


def begun(reader: Reader) -> Chat:
    chat = reader.open()
    chat.ask("Hello?")
    chat.is_done()
    expect(chat.page.locator("#sessions a")).to_have_text("Hello?")
    return chat


def look_again(page: Page) -> None:
    """Act as if the person returned to the tab."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def rename(page: Page, name: str) -> None:
    page.locator(".session").hover()
    page.get_by_role("button", name="Rename: ").click()
    box = page.get_by_role("textbox", name="New name")
    box.fill(name)
    box.press("Enter")


def remove(page: Page) -> None:
    page.locator(".session").hover()
    page.get_by_role("button", name="Delete: ").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()


def said(page: Page) -> Locator:
    return page.locator("footer").get_by_role("alert")
