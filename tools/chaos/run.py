"""A chaos run: conversations, faults, and a check of every text that was read."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from midsentence.events import Entry
from tests.support.async_visitor import AsyncVisitor, RetryCounts
from tests.support.processes import Stack
from tools.chaos.conversation import Conversation, Question, Tab
from tools.chaos.injector import FaultInjector, addresses, stack
from tools.chaos.schedule import Action, ProcessKind, schedule
from tools.provider.checks import Violation, check_answer
from tools.provider.upstream import AttemptsUpstream

# How long after the last fault, with all processes running, every turn must have its end.
END_SECONDS = 60.0
VERIFIED_AT_ONCE = 12
# Writes this shortly before a kill of Valkey may not be on disk (appendfsync everysec).
UNSYNCED_SECONDS = 3.0
# When a visitor gives up a request, and a stream, which has a ping every second.
REPLY_SECONDS, STALL_SECONDS = 4.0, 2.5

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    seed: int
    seconds: float
    servers: int = 3
    workers: int = 3
    sessions: int = 16
    takeover: str = "auto"
    api: str = "chat"
    tails: bool = False


@dataclass
class Outcome:
    violations: list[Violation]
    actions: Counter[tuple[ProcessKind, Action]]
    figures: dict[str, int | float] = field(default_factory=dict[str, int | float])

    def count(self, kind: str) -> int:
        return sum(violation.kind == kind for violation in self.violations)


def run(options: Options, directory: Path, log: Callable[[str], None]) -> Outcome:
    with AttemptsUpstream() as upstream:
        settings = {"MIDSENTENCE_TAKEOVER": options.takeover, "MIDSENTENCE_API": options.api}
        processes = stack(directory, upstream, servers=options.servers, workers=options.workers, settings=settings)
        try:
            processes.start()
            return asyncio.run(Run(options, processes, upstream, log).finished())
        finally:
            processes.stop()


class Run:
    def __init__(
        self, options: Options, processes: Stack, upstream: AttemptsUpstream, log: Callable[[str], None]
    ) -> None:
        self._options = options
        self._injector = FaultInjector(processes, log)
        self._upstream = upstream
        self._record = upstream.record
        self._log = log
        self._addresses = addresses(processes)
        self._retries = RetryCounts()
        self._violations: list[Violation] = []
        self._conversations: list[Conversation] = []
        self._is_over = False
        self._deadline = 0.0
        self._ends: Counter[str] = Counter()
        self._answered_tokens = 0

    async def finished(self) -> Outcome:
        options = self._options
        slots = [asyncio.create_task(self._slot(number)) for number in range(options.sessions)]
        plan = schedule(
            options.seed, options.seconds, servers=options.servers, workers=options.workers, tails=options.tails
        )
        await self._injector.inject(plan)
        self._is_over = True
        self._log("All processes run again; now every turn must end at every reader.")
        _, late = await asyncio.wait(slots, timeout=END_SECONDS)
        for slot in late:
            slot.cancel()
        await asyncio.gather(*slots, return_exceptions=True)
        self._log(f"Reading {len(self._conversations)} conversations again.")
        self._upstream.link()
        gate = asyncio.Semaphore(VERIFIED_AT_ONCE)
        self._deadline = asyncio.get_running_loop().time() + END_SECONDS
        async with asyncio.TaskGroup() as group:
            for conversation in self._conversations:
                group.create_task(self._verify(conversation, gate))
        self._violations += [
            Violation("mismatch", "upstream", f"asked to continue {text!r}") for text in self._record.foreign
        ]
        return Outcome(self._violations, self._injector.counts, self._figures())

    async def _slot(self, number: int) -> None:
        count = 0
        while not self._is_over:
            count += 1
            name = f"{self._options.seed}/{number}/{count}"
            chance = random.Random(name)
            visitor = AsyncVisitor(
                lambda chance=chance: chance.choice(self._addresses),
                chance,
                reply_timeout=REPLY_SECONDS,
                silence_timeout=STALL_SECONDS,
                retries=self._retries,
            )
            conversation = Conversation(name, visitor, chance, self._violations)
            self._conversations.append(conversation)
            try:
                await conversation.run(lambda: self._is_over)
            except* AssertionError as failed:
                self._violations += [Violation("mismatch", name, str(error)) for error in failed.exceptions]

    async def _verify(self, conversation: Conversation, gate: asyncio.Semaphore) -> None:
        async with gate:
            if not conversation.session_id:
                # The run was over before the first question was accepted.
                return
            logged = await self._in_time(conversation.logged(), conversation.name, conversation) or []
            for question in conversation.questions:
                self._check_question(conversation, question, logged)
            unasked = {entry.text for entry in logged if entry.role == "user"} - {
                it.text for it in conversation.questions
            }
            if unasked:
                conversation.report("mismatch", conversation.name, f"nobody asked {unasked}")
            for tab in conversation.tabs:
                await self._compare(conversation, tab, logged)

    async def _in_time(self, reading: Coroutine[Any, Any, T], who: str, conversation: Conversation) -> T | None:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await reading
        except TimeoutError:
            conversation.report("stuck", who, f"could not be read within {END_SECONDS:g} s")
            return None

    def _check_question(self, conversation: Conversation, question: Question, logged: list[Entry]) -> None:
        where = f"{conversation.name} turn {question.turn}"
        turns = [entry.turn for entry in logged if entry.text == question.text]
        if len(turns) > 1:
            conversation.report("duplicate", where, f"one question has the turns {turns}")
        answers = [entry for entry in logged if entry.turn in turns and entry.role == "assistant"]
        if not answers or answers[0].end is None:
            if question.accepted:
                conversation.report("stuck", where, f"no end of {question.text!r}")
            return
        answer, ended = answers[0], str(answers[0].end)
        self._ends[ended] += 1
        attempts = self._record.attempts[question.text]
        if ended == "stop" or (ended == "stopped" and question.may_be_stopped):
            for violation in check_answer(
                f"{where} ({conversation.session_id})", answer.text, attempts, whole=ended == "stop"
            ):
                self._violations.append(violation)
            self._answered_tokens += answer.text.count("⟦")
        else:
            conversation.report("mismatch", where, f"ended with {ended} {answer.error!r}")
        if question.stop_reason not in {None, ended} and not self._may_be_lost(question.stopped_at):
            conversation.report(
                "mismatch", where, f"the stop was answered {question.stop_reason}, and the end is {ended}"
            )

    def _may_be_lost(self, at: float) -> bool:
        return any(at <= death <= at + UNSYNCED_SECONDS for death in self._injector.valkey_deaths)

    async def _compare(self, conversation: Conversation, tab: Tab, logged: list[Entry]) -> None:
        if await self._in_time(tab.catch_up(), f"{tab.name} at {tab.transcript.cursor}", conversation) is None:
            return
        expected = [(entry.turn, entry.role, entry.text, entry.end) for entry in logged]
        got = [(entry.turn, entry.role, entry.text, entry.end) for entry in tab.transcript.messages]
        if got != expected:
            wrong = next((pair for pair in zip(got, expected, strict=False) if pair[0] != pair[1]), (got, expected))
            conversation.report("mismatch", tab.name, f"reads {wrong[0]!r} where the log has {wrong[1]!r}")

    def _figures(self) -> dict[str, int | float]:
        written = self._record.written
        return {
            "conversations": len(self._conversations),
            "tabs": sum(len(conversation.tabs) for conversation in self._conversations),
            "turns": self._ends.total(),
            **{f"  ended {reason}": count for reason, count in sorted(self._ends.items())},
            "resumes": self._retries.resumed,
            "streams refused or broken": self._retries.refused,
            "requests repeated": self._retries.repeated,
            "snapshots": sum(
                tab.transcript.snapshots for conversation in self._conversations for tab in conversation.tabs
            ),
            "202s lost with Valkey's last writes": sum(
                conversation.lost_acceptances for conversation in self._conversations
            ),
            "tokens written by the model": written,
            "tokens asked for again": written - self._answered_tokens,
            "faults skipped, all targets being down": self._injector.skipped,
            "stops slower than allowed": self._injector.slow_stops,
        }
