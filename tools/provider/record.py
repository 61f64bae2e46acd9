"""What the scripted provider wrote: each token names its attempt and its position, so every mix of attempts shows."""

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.answers import text_for
from tests.support.background_responses import Response
from tests.support.http_exchange import Request

TAG = re.compile(r"⟦(\d+)\.(\d+)⟧")


def tokens_of(question: str, attempt: int) -> list[str]:
    """The tokens that the model writes for the `attempt`-th request of this question."""
    return [f"{piece}⟦{attempt}.{number}⟧" for number, piece in enumerate(text_for(question))]


@dataclass
class Attempt:
    """One request for an answer: the tokens of attempt `number` from `first` on."""

    number: int
    tokens: Sequence[str]
    first: int
    question: str
    request: Request
    response: Response | None = None  # in the background, the model writes on without a reader
    fails_at: float | None = None  # the part of the answer after which a background response fails

    @property
    def written(self) -> int:
        """The tokens whose bytes were all written to the socket. A reset may discard some of them on the way."""
        return self.request.sent if self.response is None else self.response.generated

    @property
    def positions(self) -> range:
        """The positions of the written tokens in the answer."""
        return range(self.first, self.first + self.written)

    @property
    def is_whole(self) -> bool:
        return self.written == len(self.tokens) - self.first


@dataclass
class Record:
    """All requests, and the tokens written for them. Several providers, each in a thread of its own, may share one."""

    attempts: defaultdict[str, list[Attempt]] = field(default_factory=lambda: defaultdict(list))
    # Partial answers that the model was asked to continue and never wrote.
    foreign: list[str] = field(default_factory=list[str])
    # Streams of answers by question, those that re-attach included.
    streams: Counter[str] = field(default_factory=Counter[str])
    # Streams that were spoilt, by what was done to them.
    spoilt: Counter[str] = field(default_factory=Counter[str])
    # Requests that were refused, or never answered, because the provider was down.
    refused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def written(self) -> int:
        """The number of tokens written, repeats included."""
        return sum(attempt.written for asked in self.attempts.values() for attempt in asked)

    def begun(self, request: Request) -> Attempt:
        """Note a request for an answer."""
        with self._lock:
            attempt = self._attempt(request)
            self.attempts[request.question].append(attempt)
        return attempt

    def streamed(self, question: str) -> int:
        """Note a stream. Returns its number among those of its question."""
        with self._lock:
            self.streams[question] += 1
            return self.streams[question]

    def spoil(self, action: str) -> None:
        with self._lock:
            self.spoilt[action] += 1

    def refuse(self) -> None:
        with self._lock:
            self.refused += 1

    def _attempt(self, request: Request) -> Attempt:
        if partial := request.partial:
            found = TAG.findall(partial)
            number = int(found[0][0]) if found else 0
            tokens = tokens_of(request.question, number)
            if partial == "".join(tokens[: len(found)]):
                return Attempt(number, tokens, len(found), request.question, request)
            self.foreign.append(partial)
        asked = self.attempts[request.question]
        number = 1 + max((attempt.number for attempt in asked), default=0)
        return Attempt(number, tokens_of(request.question, number), 0, request.question, request)
