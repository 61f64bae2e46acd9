"""The model of a chaos run: each token names its attempt and its position, so that every mix of attempts shows."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.background_responses import Response
from tests.support.upstream import Answer, Request, Upstream, answer_for, text_for

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
    request: Request
    response: Response | None = None  # in the background, the model writes on without a reader

    @property
    def written(self) -> int:
        return self.request.sent if self.response is None else self.response.generated

    @property
    def is_whole(self) -> bool:
        return self.written == len(self.tokens) - self.first


@dataclass
class Record:
    """All requests, and the tokens written for them."""

    attempts: defaultdict[str, list[Attempt]] = field(default_factory=lambda: defaultdict(list))
    # Partial answers that the model was asked to continue and never wrote.
    foreign: list[str] = field(default_factory=list[str])

    @property
    def written(self) -> int:
        """The number of tokens written, repeats included."""
        return sum(attempt.written for asked in self.attempts.values() for attempt in asked)


class AttemptsUpstream(Upstream):
    """Answers like `answer_for`, with tagged tokens, and continues a partial answer."""

    def __init__(self) -> None:
        super().__init__()
        self.record = Record()

    def choose(self, request: Request) -> Answer:
        if request.method != "POST":
            return super().choose(request)
        answer = answer_for(request.question)
        attempt = self._attempt(request)
        self.record.attempts[request.question].append(attempt)
        answer.tokens = attempt.tokens[attempt.first :]
        return answer

    async def play(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        try:
            return await super().play(request, writer)
        finally:
            # Frees the conversations that thousands of requests repeat.
            if request.body:
                request.body.update(messages=None, input=None)

    def link(self) -> None:
        """Attach each background response to its attempt."""
        responses = {id(response.body): response for response in self.responses}
        for attempt in (attempt for asked in self.record.attempts.values() for attempt in asked):
            attempt.response = responses.get(id(attempt.request.body))

    def _attempt(self, request: Request) -> Attempt:
        if partial := request.partial:
            found = TAG.findall(partial)
            number = int(found[0][0]) if found else 0
            tokens = tokens_of(request.question, number)
            if partial == "".join(tokens[: len(found)]):
                return Attempt(number, tokens, len(found), request)
            self.record.foreign.append(partial)
        asked = self.record.attempts[request.question]
        number = 1 + max((attempt.number for attempt in asked), default=0)
        return Attempt(number, tokens_of(request.question, number), 0, request)
