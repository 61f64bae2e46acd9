"""Scripted answers of the model, and how they fail."""

import asyncio
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MODEL = "scripted"

_PIECES = (
    *("the ", "log ", "is ", "one ", "truth", ", ", "and ", "reload", "ing ", "costs ", "nothing", ". "),
    *("断", "线", "重连", "，", "一个字", "也不", "丢", "。", "\n", "\n\n", "- ", "`x = 1`", "  "),
    *("😀", "👩‍👩‍👧‍👦", "🇨🇳", "é", "e\u0301", "\u2028", "\ufeff", '"', "\\", "<b>", "&amp;", "data: ", "\t", "0"),
)


def text_for(question: str) -> list[str]:
    """The tokens of an unscripted answer to this question.

    `tokens=200 seed=7` gives 200 tokens, the same on every machine. Any other question is echoed.
    """
    wanted = _numbers(question)
    if "tokens" not in wanted:
        return ["You", " asked: ", *re.findall(r"\S+\s*|\s+", question)]
    chosen = random.Random(int(wanted.get("seed", 0)))
    return [chosen.choice(_PIECES) for _ in range(int(wanted["tokens"]))]


def answer_for(question: str) -> "Answer":
    """Script an answer by words of the question.

    `tokens=200 rate=50 seed=7` (tokens a second), `reasoning=20` tokens before them, and `cut=`, `stall=`, `error=`
    (after that many tokens) or `status=`.
    """
    wanted = _numbers(question)
    whole = {name: int(value) for name, value in wanted.items()}
    return Answer(
        tokens=text_for(question),
        reasoning=text_for(f"tokens={whole['reasoning']} seed=1") if wanted.get("reasoning") else (),
        delay=1 / wanted["rate"] if wanted.get("rate") else 0,
        status=whole.get("status", 200),
        cut_after=whole.get("cut"),
        stall_after=whole.get("stall"),
        error_after=whole.get("error"),
    )


def _numbers(question: str) -> dict[str, float]:
    names = "tokens|rate|seed|reasoning|cut|stall|error|status"
    return {name: float(value) for name, value in re.findall(rf"\b({names})=(\d+(?:\.\d+)?)", question)}


@dataclass
class Answer:
    """One scripted response. The `*_after` fields count tokens (reasoning first, then text)."""

    tokens: Sequence[str] = ("Hello", ", ", "world", ".")
    reasoning: Sequence[str] = ()
    reasoning_field: str = "reasoning_content"
    delay: float = 0  # seconds before each token
    first_event_delay: float = 0  # seconds before the first event of each connection to a background response
    gate: bool = False  # each token waits for release()
    finish: str | None = "stop"
    done: bool = True  # whether `data: [DONE]` follows
    usage: tuple[int, int] | None = (11, 7)  # input, output; sent if the request asks for it
    usage_in_finish: bool = False  # some servers send it there, even unasked
    linger: bool = False  # keeps the connection open and silent after the last byte
    status: int = 200  # any other status is sent with `body` instead of a stream
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    no_reply: bool = False  # the request is read and never answered
    hang_up: bool = False  # the request is read and the connection is closed
    cut_after: int | None = None  # tokens before the connection ends, in the middle of the response
    cut_before_event: int | None = None  # the number of the event in front of which a background response is cut
    cuts: int = 1  # the number of connections to one background response that are cut or stall
    reset: bool = False  # the cut is a TCP reset
    stall_after: int | None = None  # tokens before the connection goes silent
    error_after: int | None = None  # tokens before an `{"error": …}` object; a background response fails instead
    error_code: str = "server_error"  # of a background response that fails
    error_event: bool = False  # sent as an event `error`, while the background response goes on
    numbered: bool = True  # whether the events of a background response have a sequence_number
    split_utf8: bool = False  # every byte is an HTTP chunk
    raw: Sequence[bytes] = ()  # the body instead of all events; each element is an HTTP chunk
    refuses_stream_options: bool = False

    _permits: int = field(default=0, repr=False)
    _opened: bool = field(default=False, repr=False)
    _wake: Callable[[], object] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def is_stream(self) -> bool:
        return self.status == 200 and self.body is None

    def release(self, count: int = 1) -> None:
        """Let `count` more tokens through the gate. May be called from any thread."""
        with self._lock:
            self._permits += count
            wake = self._wake
        if wake is not None:
            wake()

    def release_all(self) -> None:
        with self._lock:
            self._opened = True
            wake = self._wake
        if wake is not None:
            wake()

    async def wait_until_due(self) -> None:
        """Wait until the next token is due."""
        if self.gate:
            await self.wait_for_permit()
        if self.delay:
            await asyncio.sleep(self.delay)

    async def wait_for_permit(self) -> None:
        """Wait until the gate admits the next token."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        while True:
            with self._lock:
                if self._opened:
                    return
                if self._permits:
                    self._permits -= 1
                    return
                woken.clear()
            await woken.wait()
