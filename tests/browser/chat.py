"""Page objects: a reader's browser, and one tab of the chat."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Route, expect

from tests.support.processes import Stack
from tests.support.waiting import wait_until

EVENTS = "**/sessions/*/events*"
ASKS = "**/sessions"
MESSAGES = "**/sessions/*/messages"

# With or without a lost connection before.
DONE = re.compile(r"^Live( · Resumed at [\d:]+\s[AP]M, nothing lost)? · Done$")

_WATCH = """
addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) => {
  complain(`${violatedDirective}: ${blockedURI} ${sample}`);
});
"""

# Each text that was shown as an answer or as the status, at every change of it.
_WITNESS = """
globalThis.shown = {};
globalThis.statuses = [];
new MutationObserver(() => {
  const status = document.querySelector('#status')?.textContent;
  if (status && status !== statuses.at(-1)) statuses.push(status);
  for (const row of document.querySelectorAll('[data-row^="assistant-"]')) {
    const texts = (shown[row.dataset.row] ??= []);
    const text = row.querySelector('.text').textContent;
    if (text !== texts.at(-1)?.text) texts.push({ text, at: performance.now() });
  }
}).observe(document, { childList: true, characterData: true, subtree: true });
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
        """Open an empty tab, so that a test can intercept its first request too."""
        return self._context.new_page()

    def watch(self) -> None:
        """Record what the tabs that are opened from now on show, see `Chat.shown`."""
        self._context.add_init_script(_WITNESS)

    def before_the_page(self, script: str) -> None:
        """Run a script in every tab that is opened from now on, before the page's scripts."""
        self._context.add_init_script(script)

    def set_offline(self, is_offline: bool) -> None:
        """Make the browser report that it is offline. An open event stream stays open."""
        self._context.set_offline(is_offline)

    @property
    def cookies(self) -> list[Any]:
        """The owner's cookies, for another browser of the same person."""
        return self._context.cookies()

    def _complain(self, what: str) -> None:
        self.complaints.append(what)

    def _said(self, message: ConsoleMessage) -> None:
        # The browser reports each request that fails; some tests make them fail.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._complain(message.text)


class Readers(Protocol):
    def __call__(self, same_as: Reader | None = None, **options: Any) -> Reader:
        """Make a reader, or the same person on another device. The options are those of Playwright's `new_context`."""
        ...


@dataclass(frozen=True)
class Chat:
    page: Page

    @property
    def session(self) -> str:
        return urlsplit(self.page.url).fragment

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

    @property
    def unsent(self) -> Locator:
        return self.page.locator('#conversation [data-row^="unsent-"]')

    def question(self, turn: int = 1) -> Locator:
        return self.row(f"user-{turn}").locator(".text")

    def answer(self, turn: int = 1) -> Locator:
        return self.row(f"assistant-{turn}").locator(".text")

    def ask(self, text: str) -> None:
        self.text_box.fill(text)
        self.text_box.press("Enter")

    def shows_question(self, text: str, turn: int = 1) -> None:
        shows(self.question(turn), text)

    def shows_answer(self, text: str, turn: int = 1) -> None:
        shows(self.answer(turn), text)

    def is_answering(self) -> None:
        expect(self.status).to_have_text("Live · Answering…")

    def is_done(self) -> None:
        expect(self.status).to_have_text(DONE)

    def source(self, turn: int = 1) -> str:
        """The Markdown that the model wrote."""
        messages = self.page.request.get(f"/sessions/{self.session}").json()["messages"]
        return next(one["text"] for one in messages if one["role"] == "assistant" and one["turn"] == turn)

    def shown(self, turn: int = 1) -> list[str]:
        """Each text of the answer that this tab has shown since it was loaded. Needs `Reader.watch`."""
        return [one["text"] for one in self.page.evaluate(f"shown['assistant-{turn}'] ?? []")]

    def has_shown_status(self, text: str) -> None:
        """Wait until the status has had this text, which may be gone before a test sees it. Needs `Reader.watch`."""
        wait_until(lambda: text in self.page.evaluate("statuses"), description=f"the status has been {text!r}")

    def never_repeated_a_word(self, text: str, turn: int = 1) -> None:
        """Assert that each text that was shown is a prefix of the answer, so no word was repeated or skipped."""
        self.shows_answer(text, turn)
        strange = "([row, text]) => shown[row].filter((one) => !text.startsWith(one.text)).map((one) => one.text)"
        assert self.page.evaluate(strange, [f"assistant-{turn}", text]) == []


def shows(element: Locator, text: str) -> None:
    """Compare the exact text: Playwright's own `to_have_text` ignores white space."""
    expect(element).to_have_js_property("textContent", text)


def times_asked(stack: Stack, question: str) -> int:
    """How often the model was called with this question."""
    return [request.question for request in stack.upstream.requests].count(question)


def keys_of(page: Page) -> list[str]:
    """A list that gets the idempotency key of each later POST."""
    keys: list[str] = []
    page.on(
        "request", lambda request: keys.append(request.headers["idempotency-key"]) if request.method == "POST" else None
    )
    return keys


def fail_posts(page: Page, pattern: str) -> None:
    """Let each POST fail before it reaches the server."""
    page.route(pattern, lambda route: route.abort() if route.request.method == "POST" else route.fallback())


def lose_replies(page: Page, pattern: str) -> None:
    """Let the server handle each POST, and drop its response."""

    def lose(route: Route) -> None:
        if route.request.method != "POST":
            return route.fallback()
        route.fetch()
        return route.abort()

    page.route(pattern, lose)


def take_back(page: Page, pattern: str, reply: Mapping[str, object]) -> None:
    """Answer one POST with a 202 although its message is lost, as after a crash of Redis (docs/protocol.md 4.2)."""
    taken: list[Route] = []

    def take(route: Route) -> None:
        if route.request.method != "POST" or taken:
            return route.fallback()
        taken.append(route)
        return route.fulfill(status=202, json=reply)

    page.route(pattern, take)


def stream_of(*events: tuple[str, str | None, Mapping[str, object]]) -> str:
    """The bytes of an event stream that closes after these events."""
    lines = (f"event: {kind}\ndata: {json.dumps(data)}\n" + (f"id: {at}\n" if at else "") for kind, at, data in events)
    return "retry: 60000\n\n" + "\n".join([*lines, ""])
