"""The page as its reader sees it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Route, expect

from tests.support.processes import Stack

EVENTS: Final = "**/sessions/*/events*"
ASKS: Final = "**/sessions"
MESSAGES: Final = "**/sessions/*/messages"

_WATCH = """
addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) => {
  complain(`${violatedDirective}: ${blockedURI} ${sample}`);
});
"""


class Reader:
    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self._context = context
        context.expose_function("complain", self._complain)  # pyright: ignore[reportUnknownMemberType]
        context.add_init_script(_WATCH)
        context.on("console", self._said)
        context.on("weberror", lambda error: self._complain(str(error.error)))

    def open(self, path: str = "/") -> "Chat":
        chat = Chat(self._context.new_page())
        chat.page.goto(path)
        return chat

    def blank(self) -> Page:
        """A tab that has opened nothing yet, so that its requests can be tampered with from the first on."""
        return self._context.new_page()

    @property
    def cookies(self) -> list[Any]:
        """Who this is, for another browser of the same person."""
        return self._context.cookies()

    def _complain(self, what: str) -> None:
        self.complaints.append(what)

    def _said(self, message: ConsoleMessage) -> None:
        # The browser reports each request that fails; some tests make them fail.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._complain(message.text)


class Readers(Protocol):
    def __call__(self, same_as: Reader | None = None, **options: Any) -> Reader:
        """Somebody, or the same person at another device; the options are those of Playwright's `new_context`."""
        ...


@dataclass(frozen=True)
class Chat:
    page: Page

    @property
    def text_box(self) -> Locator:
        return self.page.get_by_label("Message")

    @property
    def status(self) -> Locator:
        return self.page.locator("#status")

    @property
    def rows(self) -> Locator:
        return self.page.locator("#conversation .row")

    def row(self, name: str) -> Locator:
        return self.page.locator(f'#conversation [data-row="{name}"]')

    def answer(self, turn: int = 1) -> Locator:
        return self.row(f"assistant-{turn}").locator(".text")

    def ask(self, text: str) -> None:
        self.text_box.fill(text)
        self.text_box.press("Enter")

    def shows_question(self, text: str, turn: int = 1) -> None:
        shows(self.row(f"user-{turn}").locator(".text"), text)

    def shows_answer(self, text: str, turn: int = 1) -> None:
        shows(self.answer(turn), text)

    def is_done(self) -> None:
        expect(self.status).to_have_text("Live · Done")


def shows(element: Locator, text: str) -> None:
    """Exactly: Playwright's own `to_have_text` forgives white space."""
    expect(element).to_have_js_property("textContent", text)


def times_asked(stack: Stack, question: str) -> int:
    """How often the model was asked this."""
    return [request.question for request in stack.upstream.requests].count(question)


def keys_of(page: Page) -> list[str]:
    """The idempotency key of each POST from now on, as they are made."""
    keys: list[str] = []
    page.on(
        "request", lambda request: keys.append(request.headers["idempotency-key"]) if request.method == "POST" else None
    )
    return keys


def fail_posts(page: Page, pattern: str) -> None:
    """Seam for faults: a POST leaves the page and reaches nobody."""
    page.route(pattern, lambda route: route.abort() if route.request.method == "POST" else route.fallback())


def lose_replies(page: Page, pattern: str) -> None:
    """Seam for faults: the server obeys a POST, and its reply never arrives."""

    def lose(route: Route) -> None:
        if route.request.method != "POST":
            return route.fallback()
        route.fetch()
        return route.abort()

    page.route(pattern, lose)


def take_back(page: Page, pattern: str, reply: Mapping[str, object]) -> None:
    """Seam for faults: a 202 for a message that is then lost, as a crash of Redis may do (docs/protocol.md 4.2)."""
    taken: list[Route] = []

    def take(route: Route) -> None:
        if route.request.method != "POST" or taken:
            return route.fallback()
        taken.append(route)
        return route.fulfill(status=202, json=reply)

    page.route(pattern, take)


def stream_of(*events: tuple[str, str | None, Mapping[str, object]]) -> str:
    """An event stream's bytes, after which the connection closes."""
    lines = (f"event: {kind}\ndata: {json.dumps(data)}\n" + (f"id: {at}\n" if at else "") for kind, at, data in events)
    return "retry: 60000\n\n" + "\n".join([*lines, ""])
