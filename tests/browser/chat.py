"""Page objects: a user's browser and one tab of the chat; and faults for the page's requests."""

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
SESSIONS = "**/sessions"
MESSAGES = "**/sessions/*/messages"

# With or without a lost connection before.
DONE = re.compile(r"^Live( · Resumed at [\d:]+\s[AP]M, nothing lost)? · Done$")

_REPORT_VIOLATIONS = """
addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) => {
  reportViolation(`${violatedDirective}: ${blockedURI} ${sample}`);
});
"""

# Records every text of the status and of each answer.
_RECORD_TEXTS = """
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


_HELD_LOCKS = "navigator.locks.query().then(({ held }) => held.length)"


class Reader:
    """A user: a browser context, whose tabs share its cookies and its storage."""

    def __init__(self, context: BrowserContext) -> None:
        self.errors: list[str] = []
        self._context = context
        context.expose_function("reportViolation", self._record_error)  # pyright: ignore[reportUnknownMemberType]
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("console", self._console_message)
        context.on("weberror", lambda error: self._record_error(str(error.error)))

    def open(self, path: str = "/") -> "Chat":
        chat = Chat(self._context.new_page())
        chat.page.goto(path)
        return chat

    def close(self, chat: "Chat") -> None:
        """Close a tab, and wait until the browser has released its locks: they tell other tabs whether it is open."""
        other = self._context.new_page()
        other.goto("/healthz")
        held = other.evaluate(_HELD_LOCKS)
        chat.page.close()
        while other.evaluate(_HELD_LOCKS) == held:
            other.wait_for_timeout(20)
        other.close()

    def new_tab(self) -> Page:
        """Open an empty tab, so that a test can intercept all requests of the page."""
        return self._context.new_page()

    def record_texts(self) -> None:
        """Record the status and the answers in every tab opened from now on."""
        self._context.add_init_script(_RECORD_TEXTS)

    def add_init_script(self, script: str) -> None:
        """Run a script in every tab opened from now on, before the scripts of the page."""
        self._context.add_init_script(script)

    def set_offline(self, is_offline: bool) -> None:
        """Set what the browser reports as the network's state. An open event stream stays open."""
        self._context.set_offline(is_offline)

    @property
    def cookies(self) -> list[Any]:
        """The cookies, for another device of the same user."""
        return self._context.cookies()

    def _record_error(self, error: str) -> None:
        self.errors.append(error)

    def _console_message(self, message: ConsoleMessage) -> None:
        # The browser logs each failed request, and some tests make requests fail.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._record_error(message.text)


class Readers(Protocol):
    def __call__(self, same_as: Reader | None = None, **options: Any) -> Reader:
        """Create a user, or another device of the same user. The options are those of Playwright's `new_context`."""
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
        """The answer as the model wrote it, in Markdown."""
        messages = self.page.request.get(f"/sessions/{self.session}").json()["messages"]
        return next(one["text"] for one in messages if one["role"] == "assistant" and one["turn"] == turn)

    def recorded_answers(self, turn: int = 1) -> list[str]:
        """Every text of the answer since the tab was loaded. Needs `Reader.record_texts`."""
        return [one["text"] for one in self.page.evaluate(f"shown['assistant-{turn}'] ?? []")]

    def has_shown_status(self, text: str) -> None:
        """Wait until the status has shown this text, even if only briefly. Needs `Reader.record_texts`."""
        wait_until(lambda: text in self.page.evaluate("statuses"), description=f"the status has been {text!r}")

    def answer_only_grew(self, text: str, turn: int = 1) -> None:
        """Check that every recorded text of the answer is a prefix of `text`: no word was repeated or skipped."""
        self.shows_answer(text, turn)
        others = "([row, text]) => shown[row].filter((one) => !text.startsWith(one.text)).map((one) => one.text)"
        assert self.page.evaluate(others, [f"assistant-{turn}", text]) == []


def shows(element: Locator, text: str) -> None:
    """Compare the exact text: `to_have_text` of Playwright normalises white space."""
    expect(element).to_have_js_property("textContent", text)


def times_asked(stack: Stack, question: str) -> int:
    """The number of requests to the model with this question."""
    return [request.question for request in stack.upstream.requests].count(question)


def posted_keys(page: Page) -> list[str]:
    """A list that gets the idempotency key of each POST from now on."""
    keys: list[str] = []
    page.on(
        "request", lambda request: keys.append(request.headers["idempotency-key"]) if request.method == "POST" else None
    )
    return keys


def fail_posts(page: Page, pattern: str) -> None:
    """Fail each POST before it reaches the server."""
    page.route(pattern, lambda route: route.abort() if route.request.method == "POST" else route.fallback())


def drop_replies(page: Page, pattern: str) -> None:
    """Let the server process each POST, and drop its reply."""

    def drop(route: Route) -> None:
        if route.request.method != "POST":
            return route.fallback()
        route.fetch()
        return route.abort()

    page.route(pattern, drop)


def accept_and_lose(page: Page, pattern: str, reply: Mapping[str, object]) -> None:
    """Accept the first POST with a 202 and lose its message, as a crash of Redis can (docs/protocol.md 4.2)."""
    lost: list[Route] = []

    def accept(route: Route) -> None:
        if route.request.method != "POST" or lost:
            return route.fallback()
        lost.append(route)
        return route.fulfill(status=202, json=reply)

    page.route(pattern, accept)


def event_stream(*events: tuple[str, str | None, Mapping[str, object]]) -> str:
    """The body of an event stream that ends after these events."""
    lines = (f"event: {kind}\ndata: {json.dumps(data)}\n" + (f"id: {at}\n" if at else "") for kind, at, data in events)
    return "retry: 60000\n\n" + "\n".join([*lines, ""])
