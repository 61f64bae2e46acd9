"""The page's costs, as the browser itself counts them."""

import gzip
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from tests.support.client import Visitor
from tests.support.processes import Stack
from tests.support.upstream import Answer
from tools.page_figures.shapes import tokens

PAGE: Final = Path(__file__).parents[2] / "server" / "midsentence_server" / "page"
MESSAGES: Final = 200
LONG_MESSAGES: Final = 10_000
_TURN: Final = "An answer of **some** sentences, with `code` in it, as one gets them every day. " * 6

# From now on, record each task of 50 ms or more (W3C Long Tasks) and the longest time between two frames.
_WATCH_FRAMES: Final = """() => {
  globalThis.seen = { tasks: [], frame: 0, frames: 0 };
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({ type: 'longtask' });
  let last = performance.now();
  const frame = (now) => {
    seen.frame = Math.max(seen.frame, now - last);
    seen.frames += 1;
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""
# The time when the session's last answer was on the screen: two frames after it was in the document.
_WATCH_ANSWER: Final = """
const check = () => {
  const text = document.querySelector('[data-row="assistant-%d"] .answer')?.textContent ?? '';
  if (text === '') return requestAnimationFrame(check);
  requestAnimationFrame(() => requestAnimationFrame(() => { globalThis.shownAt = performance.now(); }));
};
requestAnimationFrame(check);
"""


@dataclass(frozen=True)
class Streaming:
    worst_frame: float  # ms
    long_tasks: float  # ms in sum
    seconds: float
    tokens_a_second: float


@dataclass(frozen=True)
class LongSession:
    elements: int
    heap: float  # MB


def initial_scripts() -> int:
    """Bytes of JavaScript, gzipped, that the page loads before it shows anything."""
    index = (PAGE / "index.html").read_text()
    sources = re.findall(r'<(?:script|link)[^>]+(?:src|href)="/page/([^"]+\.js)"', index)
    assert sources, "the page names no script"
    return sum(len(gzip.compress((PAGE / source).read_bytes(), 9)) for source in sources)


def first_paint(browser: Browser, base_url: str, rounds: int = 7) -> float:
    """Milliseconds from the navigation to the first contentful paint (W3C Paint Timing), the page being cached."""
    context = browser.new_context(base_url=base_url)
    page = context.new_page()
    page.goto("/")
    expect(page.locator("#text")).to_be_visible()
    times: list[float] = []
    for _ in range(rounds):
        page.goto("about:blank")
        page.goto("/")
        expect(page.locator("#text")).to_be_visible()
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length === 1")
        times.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    context.close()
    return median(times)


def open_session(browser: Browser, stack: Stack, rounds: int = 5) -> float:
    """Milliseconds from the navigation until the last answer of a session of 200 messages is on the screen."""
    with Visitor(stack.base_url) as visitor:
        stack.upstream.answers.extend(Answer(tokens=[_TURN]) for _ in range(MESSAGES // 2))
        session_id = visitor.start("Question 1")
        for number in range(2, MESSAGES // 2 + 1):
            visitor.read(session_id)
            visitor.send(session_id, f"Question {number}")
        visitor.read(session_id)
        cookie = visitor.http.cookies["midsentence"]
    context = browser.new_context(base_url=stack.base_url)
    address = urlsplit(stack.base_url)
    context.add_cookies([{"name": "midsentence", "value": cookie, "domain": address.hostname or "", "path": "/"}])
    context.add_init_script(_WATCH_ANSWER % (MESSAGES // 2))
    times: list[float] = []
    for _ in range(rounds + 1):
        page = context.new_page()
        page.goto(f"/#{session_id}")
        page.wait_for_function("() => globalThis.shownAt !== undefined")
        times.append(page.evaluate("shownAt"))
        page.close()
    context.close()
    # The first round had an empty cache.
    return median(times[1:])


def stream(browser: Browser, stack: Stack, text: str) -> Streaming:
    """Stream twenty thousand tokens at a thousand a second through a real stack; the page is in front and follows."""
    # With the time that each takes itself, some nine milliseconds apart.
    stack.upstream.answers.append(Answer(tokens=tokens(text), delay=0.008))
    context = browser.new_context(base_url=stack.base_url, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto("/")
    page.locator("#text").fill("Say all of it")
    page.evaluate(_WATCH_FRAMES)
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_attribute("data-phase", "streaming", timeout=20_000)
    began = page.evaluate("performance.now()")
    expect(page.locator("#status")).to_have_attribute("data-phase", "idle", timeout=180_000)
    seconds = (page.evaluate("performance.now()") - began) / 1000
    # The last parse and the highlighting come after the end.
    wait_until_idle(page)
    seen: dict[str, Any] = page.evaluate("seen")
    context.close()
    return Streaming(seen["frame"], sum(seen["tasks"]), seconds, len(text) / 3.8 / seconds)


def wait_until_idle(page: Page) -> None:
    page.evaluate("new Promise((done) => requestIdleCallback(() => requestIdleCallback(done)))")


def long_session(browser: Browser, base_url: str, body: str, last: int) -> LongSession:
    """Count what an open tab holds after it received all these turns."""
    context = browser.new_context(base_url=base_url)
    page = context.new_page()
    page.route("**/events*", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    page.goto("/#0aAAAAAAAAAAAAAAAAAAAAAA")
    expect(page.locator(f'[data-row="assistant-{last}"]')).to_be_visible(timeout=60_000)
    # The empty list loads separately and adds a note, which is counted too.
    expect(page.locator(".list-note")).to_be_visible()
    wait_until_idle(page)
    session = context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")  # pyright: ignore[reportUnknownMemberType]
    heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    elements = page.evaluate("document.querySelectorAll('*').length")
    context.close()
    return LongSession(elements, heap)


def turns_stream(turns: int) -> str:
    """A stream of so many turns, as an open tab receives it."""
    events: list[str] = ["retry: 600000\n"]

    def event(name: str, at: str, data: str) -> None:
        events.append(f"id: {at}\nevent: {name}\ndata: {data}\n")

    empty = '{"session_id": "0aAAAAAAAAAAAAAAAAAAAAAA", "state": "idle", "messages": []}'
    event("snapshot", "0.0-0", empty)
    for turn in range(1, turns + 1):
        event("message", f"{turn}.0-0", f'{{"role":"user","text":"Question {turn}","turn":{turn},"parent":{turn - 1}}}')
        event("start", f"{turn}.1-1", f'{{"turn":{turn},"attempt":1,"model":"scripted"}}')
        for seq in range(2, 8):
            event("delta", f"{turn}.1-{seq}", f'{{"text":"{_TURN[:80]}"}}')
        event("end", f"{turn}.1-8", '{"reason":"stop","usage":null,"error":null}')
    return "\n".join([*events, ""])
