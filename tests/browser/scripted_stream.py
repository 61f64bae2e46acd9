"""A session whose events the test sends to the page one by one, without a server."""

from collections.abc import Mapping
from typing import Any

from playwright.sync_api import expect

from tests.browser.chat import Chat, Reader

SESSION = "0aScriptedScriptedScript00"

# An EventSource (HTML standard, 9.2) that is open at once. `say` gives it events.
_EVENT_SOURCE = """
const sources = [];
globalThis.EventSource = class extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;
  readyState = 1;
  onopen = null;
  onerror = null;
  constructor() {
    super();
    sources.push(this);
    setTimeout(() => this.onopen?.());
  }
  close() {
    this.readyState = 2;
  }
};
globalThis.say = (events) => {
  for (const [name, lastEventId, data] of events) {
    const message = { data: JSON.stringify(data), lastEventId: lastEventId ?? '' };
    sources.at(-1).dispatchEvent(new MessageEvent(name, message));
  }
};
"""

Event = tuple[str, str | None, Mapping[str, object]]


class ScriptedStream:
    """One turn of a session. The ids of the events are counted."""

    def __init__(self, reader: Reader, question: str = "Well?") -> None:
        self.page = reader.new_tab()
        self.chat = Chat(self.page)
        self.page.add_init_script(_EVENT_SOURCE)
        self.page.goto(f"/#{SESSION}")
        expect(self.page.locator("#status[data-connection=live]")).to_be_visible()
        self._turn, self._epoch, self._seq = 0, 0, 0
        self._last: str | None = None
        self.say(("snapshot", "0.0-0", {"session_id": SESSION, "state": "idle", "messages": []}))
        self.state("idle")
        self.ask(question)

    def say(self, *events: Event) -> None:
        """Send events, all in one task of the browser."""
        self.page.evaluate("(events) => say(events)", [list(event) for event in events])

    def next(self, name: str, **data: object) -> Event:
        """An event of this turn with the next id."""
        self._seq += 1
        return (name, f"{self._turn}.{self._epoch}-{self._seq}", data)

    def state(self, state: str, **more: object) -> None:
        data: dict[str, object] = {"state": state, "turn": self._turn, "queued": [], "title": "Well?", "model": None}
        data |= more
        self.say(("state", None, data))

    def ask(self, question: str) -> None:
        self._turn, self._epoch, self._seq = self._turn + 1, 1, 0
        message = {"role": "user", "text": question, "turn": self._turn, "parent": self._turn - 1}
        self.say(("message", f"{self._turn}.0-0", message))

    def start(self, attempt: int = 1, model: str = "alpha") -> None:
        self.say(self.next("start", turn=self._turn, attempt=attempt, model=model))

    def write(self, *texts: str) -> None:
        self.say(*(self.next("delta", text=text) for text in texts))

    def think(self, text: str) -> None:
        self.say(self.next("reasoning", text=text))

    def reset(self, attempt: int) -> None:
        self.say(self.next("reset", attempt=attempt, why="The model's stream broke off."))

    def end(self, reason: str = "stop", error: Mapping[str, Any] | None = None, tried: int = 1) -> None:
        usage: dict[str, object] = {"input_tokens": 11, "output_tokens": 7, "source": "reported"}
        if tried > 1:
            usage["attempts"] = [{"model": "alpha", **usage}] * tried
        self.say(self.next("end", reason=reason, usage=usage, error=error))


def paragraphs(count: int, word: str = "word") -> str:
    return "\n\n".join(f"{word} {number} " * 30 for number in range(count))
