"""Whatever models, stops and lost workers do to a turn, its log tells one story, and nothing runs on at a provider."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from midsentence.events import Delta, Usage
from midsentence.jobs import Claim
from midsentence.log import Lease
from midsentence_worker import recovery
from midsentence_worker.models.base import CannotResumeError, Finish, Mark, Message, Model, Piece, Takeover
from midsentence_worker.models.errors import ModelError
from tests.support.turns import SESSION, ClosedBreakers, RecordingLog, running_turn

BREAKS = {
    "cut": lambda: ModelError("model_truncated", "It broke off."),
    "down": lambda: ModelError("model_unreachable", "Nobody answers."),
    "refused": lambda: ModelError("model_refused_request", "No."),
    "failed": lambda: ModelError("model_failed", "It failed."),
    "limited": lambda: ModelError("model_rate_limited", "Later.", retry_after=1e9),
}


class Play(NamedTuple):
    """What a model does when it is asked: so many words, then an end."""

    words: int
    end: str


class Provider:
    """All models of a turn. It knows which responses run, and which words each of them wrote."""

    def __init__(self, plays: Sequence[Play]) -> None:
        self.plays = list(plays)
        self.running: set[str] = set()
        self.responses = 0
        self.written = 0

    def next(self) -> Play:
        return self.plays.pop(0) if self.plays else Play(1, "finish")


class PlayedModel:
    def __init__(self, name: str, takeover: str, provider: Provider) -> None:
        self.name = name
        self.takeover: Takeover = cast("Takeover", takeover)
        self._provider = provider

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        provider = self._provider
        play = provider.next()
        if mark and mark not in provider.running:
            raise CannotResumeError("gone")
        if messages[-1].role == "assistant" and play.end == "refused":
            raise CannotResumeError("no")
        if self.takeover == "reattach" and not mark and (play.words or play.end == "finish"):
            provider.responses += 1
            mark = f"{self.name} response {provider.responses}."
            provider.running.add(mark)
            yield Mark(mark)
        for _ in range(play.words):
            await asyncio.sleep(0)
            provider.written += 1
            yield Delta(f"{provider.written} ")
        await asyncio.sleep(0)
        if play.end != "finish":
            failure = BREAKS[play.end]()
            raise failure
        provider.running.discard(mark)
        yield Finish("stop", Usage(1, play.words, "reported"))

    async def warm_up(self) -> None: ...

    async def cancel(self, mark: str) -> None:
        self._provider.running.discard(mark)

    async def aclose(self) -> None: ...


def check(events: Sequence[tuple[str, Any]], marks: Sequence[str], provider: Provider) -> None:
    kinds = [kind for kind, _ in events]
    assert kinds.count("end") == 1
    assert kinds[-1] == "end"
    # 8.18 and 8.19
    starts = [data["attempt"] for kind, data in events if kind == "start"]
    assert starts == sorted(set(starts))
    for (kind, data), (after, next_data) in pairwise(events):
        if kind == "reset":
            assert (after, next_data["attempt"]) == ("start", data["attempt"])
    text, seen = "", False
    for kind, data in events:
        if kind == "reset":
            text = ""
        elif kind == "delta":
            text, seen = text + data["text"], True
    assert bool(text) == seen, "the text was lost"
    words = [int(word) for word in text.split()]
    assert words == sorted(set(words)), "a word stands twice"
    end = events[-1][1]
    if (usage := end["usage"]) is not None and "attempts" in usage:
        for count in ("input_tokens", "output_tokens"):
            assert usage[count] == sum(attempt[count] for attempt in usage["attempts"])
    # A worker that is lost before the log has the mark of a response takes the knowledge of it with it.
    assert [name for name in provider.running if name in "".join(marks)] == [], "a response runs on"


PLAYS = st.lists(st.builds(Play, st.integers(0, 3), st.sampled_from(["finish", *BREAKS])), max_size=14)
TAKEOVERS = st.lists(st.sampled_from(["restart", "continue", "reattach", "fail"]), min_size=1, max_size=3)
# After how many turns of the event loop a worker is lost, and after how many the turn is stopped.
LOSSES = st.lists(st.integers(0, 60), max_size=3)


@pytest.mark.parametrize("counts", [True, False], ids=["killed", "handed over"])
@given(PLAYS, TAKEOVERS, LOSSES, st.none() | st.integers(0, 80))
@hypothesis_settings(max_examples=150, deadline=None)
def test_log_of_a_turn_tells_one_story(
    counts: bool, plays: Sequence[Play], takeovers: Sequence[str], losses: Sequence[int], stopped_after: int | None
) -> None:
    async def play() -> None:
        provider = Provider(plays)
        models: list[Model] = [
            PlayedModel(f"m{number}", takeover, provider) for number, takeover in enumerate(takeovers)
        ]
        events: list[tuple[str, Any]] = []
        marks, attempt = [""], 1
        waits: list[int | None] = [*losses, None]
        for epoch, wait in enumerate(waits, start=1):
            log = RecordingLog(events)
            claim = Claim(Lease(SESSION, 1, epoch, "w"), len(events), attempt, mark=marks[-1])
            async with running_turn(log, models, claim=claim, breakers=ClosedBreakers(), heal_attempts=5) as (
                turn,
                task,
            ):
                if wait is None:
                    if stopped_after is not None:
                        await turns_of_the_loop(stopped_after)
                        turn.writer.stop()
                    async with asyncio.timeout(20):
                        await task
                else:
                    await turns_of_the_loop(wait)
            events += log.events
            marks += log.marks
            attempt += counts
            if events and events[-1][0] == "end":
                break
        check(events, marks, provider)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "_FIRST_PAUSE_SECONDS", 0.0001)
        asyncio.run(play())


async def turns_of_the_loop(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
