"""A conversation with every kind of content, served to the page without a server."""

from collections.abc import Mapping
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.chat import EVENTS, event_stream

_ANSWER = (
    """\
## A heading

A paragraph with **bold**, *italic*, ~~old~~, `code` and [a link](https://example.com/a).

| Name | Amount | Somewhat wide | Unabbreviated | Considerations |
|:--|--:|:-:|--|--|
| one | 1.5 | a cell with more words than fit beside the others | two | three |

```python
# A comment
def greet(name: str) -> str:
    return f"Hello, {name}" * 2  # a line that is so long that it does not fit into a narrow window at all, ever
```

1. first
2. second
   - [ ] to do
   - [x] done

> Quoted.

Inline $a^2 + b^2 = c^2$ and

$$\\int_0^1 x^2 \\, dx = \\frac{1}{3}$$

---

A_word_that_is_too_long_for_any_line_"""
    + "x" * 200
)
_MESSAGES: list[dict[str, Any]] = [
    {"turn": 1, "parent": 0, "role": "user", "text": "One of everything?", "end": None},
    {
        "turn": 1,
        "parent": 0,
        "role": "assistant",
        "text": _ANSWER,
        "end": "stop",
        "reasoning": "First *this*, then that.",
        "tools": [{"id": "c1", "name": "clock", "arguments": '{"zone": "UTC"}', "result": "12:00"}],
    },
    {"turn": 2, "parent": 1, "role": "user", "text": "还有呢？", "end": None},
    {"turn": 2, "parent": 1, "role": "assistant", "text": "再等等。", "end": "stopped"},
    {"turn": 3, "parent": 1, "role": "user", "text": "And then?", "end": None},
    {
        "turn": 3,
        "parent": 1,
        "role": "assistant",
        "text": "Half of",
        "end": "error",
        "error": {"code": "model_stalled", "message": "It fell silent.", "retryable": True},
    },
    {"turn": 4, "parent": 1, "role": "user", "text": "And then?", "end": None},
    {"turn": 4, "parent": 1, "role": "assistant", "text": "It goes on", "end": None},
]
SESSION = "0aScriptedScriptedScript00"
_STREAM = event_stream(
    ("snapshot", "4.1-5", {"session_id": SESSION, "state": "streaming", "messages": _MESSAGES}),
    (
        "state",
        None,
        {
            "state": "streaming",
            "turn": 4,
            "title": "One of everything?",
            "model": "demo",
            "queued": [{"key": "k", "text": "This waits."}],
        },
    ),
)
_MODELS = [{"name": "demo", "default": True}, {"name": "another/model-with-a-long-name:70b", "default": False}]
_LISTED: list[Mapping[str, Any]] = [
    {"session_id": SESSION, "title": "One of everything?", "state": "streaming", "turn": 4, "updated": 4},
    {
        "session_id": "1b",
        "title": "Somewhere else, with a long title",
        "state": "streaming",
        "turn": 2,
        "updated": 3,
    },
    {"session_id": "2c", "title": "读过的", "state": "idle", "turn": 1, "updated": 2},
    {"session_id": "3d", "title": "Unread", "state": "idle", "turn": 5, "updated": 1},
]


def serve_sample(page: Page) -> None:
    """Answer the requests of the page with the sample. Its address is `#{SESSION}`."""
    page.add_init_script('localStorage.setItem(\'midsentence.seen\', \'{"1b": 1, "2c": 1, "3d": 4}\')')
    page.route("**/sessions", lambda route: route.fulfill(json={"sessions": _LISTED}))
    page.route("**/models", lambda route: route.fulfill(json={"models": _MODELS}))
    page.route("**/share", lambda route: route.fulfill(json={"session_id": SESSION, "share": "capability"}))
    page.route(EVENTS, lambda route: route.fulfill(content_type="text/event-stream", body=_STREAM))


def open_sample(page: Page) -> None:
    page.goto(f"/#{SESSION}")
    expand_sample(page)


def expand_sample(page: Page) -> None:
    """Wait for the whole sample and open its collapsed parts."""
    expect(page.locator('[data-row="assistant-4"]')).to_be_visible()
    expect(page.locator('[data-row^="queued-"]')).to_be_visible()
    page.locator(".reasoning summary").click()
    page.locator(".tool summary").click()
    # KaTeX and the highlighter are loaded when they are needed first.
    expect(page.locator(".formula .katex").first).to_be_visible()
    expect(page.locator(".token-keyword").first).to_be_visible()
