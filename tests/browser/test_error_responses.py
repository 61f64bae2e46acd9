"""Error responses: the page shows the reason and stays usable."""

from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.chat import Chat, Reader
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

# Status, body and shown reason. A proxy may answer with any body; the server uses the error codes of docs/protocol.md.
# Without a status, the connection fails.
REFUSALS: dict[str, tuple[int | None, Any, str]] = {
    "a login page of a proxy": (401, "<h1>Sign in</h1>", "The server answered 401."),
    "a size limit of a proxy": (413, "<h1>Too large</h1>", "The server answered 413."),
    "a rate limit of a proxy": (429, "slow down", "The server answered 429."),
    "an internal error": (500, {"error": {"code": "internal", "message": "m"}}, "The server failed; its log says why."),
    "no Redis": (
        503,
        {"error": {"code": "store_unavailable", "message": "m"}},
        "The log cannot be reached right now.",
    ),
    "an unknown code": (418, {"error": {"code": "new", "message": "Do that instead."}}, "Do that instead."),
    "no connection": (None, None, "The server cannot be reached."),
}
GONE = (404, {"error": {"code": "not_found", "message": "m"}}, "This conversation is not here any more.")


@dataclass
class Faults:
    """Answers the requests of one method to matching URLs with `reply`. If it is None, they reach the server."""

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


def test_refused_list_shows_the_reason_until_it_loads(reader: Reader) -> None:
    chat = answered_chat(reader)
    faults = Faults(chat.page, "GET", "**/sessions")
    note = chat.page.locator("#sidebar").get_by_role("alert")
    for faults.reply in REFUSALS.values():
        reload_list(chat.page)
        expect(note).to_have_text(f"The list could not be loaded. {faults.reply[2]}")
        expect(chat.page.locator("#sessions a")).to_have_text("Hello?")
    faults.reply = None
    reload_list(chat.page)
    expect(note).to_have_count(0)


def test_refused_rename_keeps_the_old_name_and_shows_the_reason(reader: Reader) -> None:
    chat = answered_chat(reader)
    faults = Faults(chat.page, "PATCH", "**/sessions/*")
    for faults.reply in (*REFUSALS.values(), GONE):
        rename(chat.page, "Other")
        expect(alert(chat.page)).to_have_text(f"Rename did not work. {faults.reply[2]}")
        expect(chat.page.locator("#sessions a")).to_have_text("Hello?")
        alert(chat.page).get_by_role("button", name="Close").click()
        expect(alert(chat.page)).to_have_count(0)
    faults.reply = None
    rename(chat.page, "Other")
    expect(chat.page.locator("#sessions a")).to_have_text("Other")
    expect(chat.page.get_by_role("heading", level=1)).to_have_text("Other")


def test_refused_delete_keeps_the_conversation_and_shows_the_reason(reader: Reader) -> None:
    chat = answered_chat(reader)
    faults = Faults(chat.page, "DELETE", "**/sessions/*")
    for faults.reply in REFUSALS.values():
        delete(chat.page)
        expect(alert(chat.page)).to_have_text(f"Delete did not work. {faults.reply[2]}")
        expect(chat.page.locator("#sessions a")).to_have_text("Hello?")
        chat.shows_question("Hello?")
    faults.reply = None
    delete(chat.page)
    expect(chat.page.locator("#sessions a")).to_have_count(0)
    expect(alert(chat.page)).to_have_count(0)


def test_delete_of_a_deleted_conversation_succeeds(reader: Reader) -> None:
    chat = answered_chat(reader)
    Faults(chat.page, "DELETE", "**/sessions/*", GONE)
    delete(chat.page)
    expect(chat.page.locator("#welcome")).to_be_visible()
    expect(alert(chat.page)).to_have_count(0)


def test_refused_stop_shows_the_reason_and_can_be_retried(reader: Reader, stack: Stack) -> None:
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
        expect(alert(chat.page)).to_have_text(f"Stop did not work. {faults.reply[2]}")
    faults.reply = None
    stop.click()
    expect(chat.row("assistant-1").locator(".note")).to_have_text("Stopped.")
    expect(alert(chat.page)).to_have_count(0)


def test_refused_stream_is_retried_unless_the_session_is_not_found(reader: Reader) -> None:
    chat = answered_chat(reader)
    stream, session = Faults(chat.page, "GET", "**/sessions/*/events*"), Faults(chat.page, "GET", "**/sessions/*")
    for reply in REFUSALS.values():
        stream.reply = session.reply = reply
        chat.page.reload()
        expect(chat.status).to_have_attribute("data-connection", "waiting")
        expected = "Connection lost. Reconnecting" if reply[0] is None else f"{reply[2]} Trying again in "
        expect(chat.status).to_contain_text(expected)
    stream.reply = session.reply = None
    expect(chat.status).to_have_attribute("data-connection", "live")
    chat.shows_question("Hello?")
    stream.reply = session.reply = GONE
    chat.page.reload()
    expect(chat.status).to_contain_text("This conversation is not here: it was deleted")


def answered_chat(reader: Reader) -> Chat:
    chat = reader.open()
    chat.ask("Hello?")
    chat.is_done()
    expect(chat.page.locator("#sessions a")).to_have_text("Hello?")
    return chat


def reload_list(page: Page) -> None:
    """Make the page load the list again, as when its tab becomes visible."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def rename(page: Page, name: str) -> None:
    page.locator(".session").hover()
    page.get_by_role("button", name="Rename: ").click()
    box = page.get_by_role("textbox", name="New name")
    box.fill(name)
    box.press("Enter")


def delete(page: Page) -> None:
    page.locator(".session").hover()
    page.get_by_role("button", name="Delete: ").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()


def alert(page: Page) -> Locator:
    return page.locator("footer").get_by_role("alert")
