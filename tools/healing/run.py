"""Many turns at once, from a provider that cuts every n-th stream."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from midsentence.events import Entry
from tests.support.async_visitor import AsyncVisitor
from tests.support.client import SentEvent, Transcript
from tests.support.http_client import Address
from tests.support.processes import Stack
from tools.provider.checks import check_answer
from tools.provider.faults import Spoiling, StreamFault
from tools.provider.upstream import EVENTS_BEFORE_RESPONSE, AttemptsUpstream, Stream

Mode = Literal["restart", "continue", "reattach"]

_POLL_SECONDS = 0.01
# When a turn counts as one that never ends.
END_SECONDS = 240.0
TOKENS, RATES = (8, 30, 60, 120), (80, 160, 400)


@dataclass(frozen=True)
class Options:
    turns: int
    mode: Mode
    every: int
    seed: int
    at_once: int = 50
    workers: int = 1


@dataclass
class Turn:
    """One question and what its reader has of the answer."""

    question: str
    answer: Entry | None = None
    resets: int = 0
    # Whether the reader has every event of the answer, none of them in a snapshot.
    is_followed: bool = True
    usage: Any = None
    violations: list[str] = field(default_factory=list[str])

    @property
    def end(self) -> str:
        return "none" if self.answer is None else str(self.answer.end)


@dataclass
class Outcome:
    turns: list[Turn]
    streams: Counter[str]  # by question
    cuts: Counter[str]
    written: int  # tokens
    answered: int  # tokens
    seconds: float

    @property
    def whole(self) -> int:
        return sum(turn.end == "stop" and not turn.violations for turn in self.turns)

    @property
    def written_again(self) -> int:
        return self.written - self.answered


class Cuts:
    """Cuts every n-th stream at a random byte, with a clean end and with a reset by turns."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._streams = 0
        # The questions whose readers have text. Others than the upstream's thread add to it.
        self.read: set[str] = set()

    def fault_of(self, stream: Stream) -> StreamFault | None:
        self._streams += 1
        number, rest = divmod(self._streams, self._options.every)
        if rest:
            return None
        spoiling: Spoiling = "cut" if number % 2 else "reset"
        least = self._least(stream, spoiling) / stream.writes
        return StreamFault(spoiling, random.Random(f"{self._options.seed} {number}").uniform(least, 1))

    def _least(self, stream: Stream, spoiling: Spoiling) -> int:
        """How many writes go through: the head and the first event, which names a response."""
        if stream.reattaches:
            return 1
        # A reset waits until a reader has the first token.
        return 2 + EVENTS_BEFORE_RESPONSE if self._is_named(stream) and spoiling == "reset" else 2

    async def before_fault(self, stream: Stream, spoiling: Spoiling) -> None:
        """Wait until the worker has read the response's id.

        A reset discards what the worker has not read yet. A response without a known id cannot be re-attached.
        """
        if spoiling == "reset" and self._is_named(stream):
            while stream.question not in self.read:  # noqa: ASYNC110 - another thread's loop adds to it
                await asyncio.sleep(_POLL_SECONDS)

    def _is_named(self, stream: Stream) -> bool:
        """Whether it names a new response."""
        return self._options.mode == "reattach" and not stream.reattaches


def run(options: Options, directory: Path, log: Callable[[str], None]) -> Outcome:
    cuts = Cuts(options)
    settings = {
        "MIDSENTENCE_API": "responses" if options.mode == "reattach" else "chat",
        "MIDSENTENCE_TAKEOVER": options.mode,
    }
    with AttemptsUpstream(fault_of=cuts.fault_of, before_fault=cuts.before_fault) as upstream:
        stack = Stack(directory, upstream, workers=options.workers, settings=settings)
        try:
            stack.start()
            begun = time.monotonic()
            turns = asyncio.run(_all_turns(options, cuts, stack, log))
            seconds = time.monotonic() - begun
        finally:
            stack.stop()
        upstream.link()
        record = upstream.record
        for turn in turns:
            turn.violations += _violations(turn, upstream, options.mode)
    answered = sum(turn.answer.text.count("⟦") for turn in turns if turn.answer is not None)
    return Outcome(turns, record.streams, record.spoilt, record.written, answered, seconds)


async def _all_turns(options: Options, cuts: Cuts, stack: Stack, log: Callable[[str], None]) -> list[Turn]:
    address = Address("127.0.0.1", stack.servers[0].port)
    chance = random.Random(options.seed)
    turns = [
        Turn(f"turn {number} tokens={chance.choice(TOKENS)} rate={chance.choice(RATES)} seed={chance.randrange(10**6)}")
        for number in range(options.turns)
    ]
    waiting, ended = iter(turns), 0

    async def ask_in_turn(number: int) -> None:
        nonlocal ended
        visitor = AsyncVisitor(lambda: address, random.Random(f"{options.seed} visitor {number}"), silence_timeout=30)
        await visitor.get_cookie()
        for turn in waiting:
            try:
                async with asyncio.timeout(END_SECONDS):
                    await _ask(turn, visitor, cuts)
            except (AssertionError, TimeoutError) as error:
                turn.violations.append(f"{type(error).__name__}: {error}")
            ended += 1
            if ended % 100 == 0:
                log(f"{ended} turns have ended.")

    async with asyncio.TaskGroup() as group:
        watch = group.create_task(_watch(stack))
        visitors = [group.create_task(ask_in_turn(number)) for number in range(min(options.at_once, options.turns))]
        await asyncio.wait(visitors)
        watch.cancel()
    return turns


async def _watch(stack: Stack) -> None:
    """Raises AssertionError when a process has died: nothing is killed here."""
    while True:
        for child in stack.children:
            assert child.is_running, child.log
        await asyncio.sleep(1)


async def _ask(turn: Turn, visitor: AsyncVisitor, cuts: Cuts) -> None:
    reply = await visitor.request("POST", "/sessions", {"text": turn.question}, key=turn.question)
    assert reply.status == 202, f"a question was answered {reply.status} {reply.body[:200]!r}"
    transcript = Transcript(reply.json["session_id"], keeps_events=False)

    def take(event: SentEvent) -> bool:
        transcript.take(event)
        turn.resets += event.type == "reset"
        if event.type == "delta":
            cuts.read.add(turn.question)
        elif event.type == "snapshot" and transcript.answer():
            turn.is_followed = False
        elif event.type == "end":
            turn.usage = event.json["usage"]
        return False

    while transcript.end() is None:
        await visitor.read_events(transcript.session_id, transcript.cursor, take, until_end=True)
    (turn.answer,) = (entry for entry in transcript.messages if entry.role == "assistant")


def _violations(turn: Turn, upstream: AttemptsUpstream, mode: Mode) -> list[str]:
    if turn.answer is None:
        return []
    if turn.answer.end != "stop":
        return [f"ended with {turn.answer.end} {turn.answer.error!r}"]
    attempts = upstream.record.attempts[turn.question]
    found = [str(violation) for violation in check_answer(turn.question, turn.answer.text, attempts, whole=True)]
    return found + (usage_violations(turn, mode) if turn.is_followed else [])


def usage_violations(turn: Turn, mode: Mode) -> list[str]:
    """Check 8.12: the usage of every attempt that brought something, and their sum."""
    if turn.usage is None:
        return ["no usage"]
    attempts = turn.usage.get("attempts", [turn.usage])
    # A reset discards what one attempt brought. Re-attaching goes on with the one response.
    brought = {"restart": turn.resets + 1, "reattach": 1}.get(mode, len(attempts))
    found = [f"{brought} attempts, and the usage {turn.usage}"] if len(attempts) != brought else []
    sums = [sum(attempt[kind] for attempt in attempts) for kind in ("input_tokens", "output_tokens")]
    if sums != [turn.usage["input_tokens"], turn.usage["output_tokens"]]:
        found.append(f"attempts add up to {sums}, and the usage is {turn.usage}")
    return found
