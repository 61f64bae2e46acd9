"""A chaos run: conversations, faults, and the verdict on every text that anybody read."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from midsentence.events import Entry
from tests.support.processes import Stack
from tests.support.visitors import AsyncVisitor, Counted
from tools.chaos.attempts import AttemptsUpstream
from tools.chaos.conversation import Conversation, Question, Tab
from tools.chaos.house import House, addresses, stack
from tools.chaos.schedule import Deed, Kind, schedule
from tools.chaos.verdict import Finding, judge

# After the last fault, when all processes run: whatever has no end by then never gets one.
PATIENCE_SECONDS = 60.0
VERIFIED_AT_ONCE = 12
# What Valkey accepted so shortly before its death may never have been on its disk (appendfsync everysec).
UNSYNCED_SECONDS = 3.0
# What a visitor takes for a dead server, and for a dead stream, where a ping comes every second.
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
    findings: list[Finding]
    deeds: Counter[tuple[Kind, Deed]]
    figures: dict[str, int | float] = field(default_factory=dict[str, int | float])

    def count(self, wrong: str) -> int:
        return sum(finding.wrong == wrong for finding in self.findings)


def run(options: Options, directory: Path, say: Callable[[str], None]) -> Outcome:
    with AttemptsUpstream() as upstream:
        settings = {"MIDSENTENCE_TAKEOVER": options.takeover, "MIDSENTENCE_API": options.api}
        processes = stack(directory, upstream, servers=options.servers, workers=options.workers, settings=settings)
        try:
            processes.start()
            return asyncio.run(Run(options, processes, upstream, say).finished())
        finally:
            processes.stop()


class Run:
    def __init__(
        self, options: Options, processes: Stack, upstream: AttemptsUpstream, say: Callable[[str], None]
    ) -> None:
        self._options = options
        self._house = House(processes, say)
        self._upstream = upstream
        self._record = upstream.record
        self._say = say
        self._addresses = addresses(processes)
        self._counted = Counted()
        self._findings: list[Finding] = []
        self._talks: list[Conversation] = []
        self._over = False
        self._deadline = 0.0
        self._ends: Counter[str] = Counter()
        self._kept = 0

    async def finished(self) -> Outcome:
        options = self._options
        slots = [asyncio.create_task(self._slot(number)) for number in range(options.sessions)]
        plan = schedule(
            options.seed, options.seconds, servers=options.servers, workers=options.workers, tails=options.tails
        )
        await self._house.suffer(plan)
        self._over = True
        self._say("All processes run again; every turn must end, and every reader have it.")
        _, late = await asyncio.wait(slots, timeout=PATIENCE_SECONDS)
        for slot in late:
            slot.cancel()
        await asyncio.gather(*slots, return_exceptions=True)
        self._say(f"Reading {len(self._talks)} conversations again.")
        self._upstream.link()
        gate = asyncio.Semaphore(VERIFIED_AT_ONCE)
        self._deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        async with asyncio.TaskGroup() as group:
            for talk in self._talks:
                group.create_task(self._verify(talk, gate))
        self._findings += [
            Finding("mismatch", "upstream", f"asked to go on with {text!r}") for text in self._record.foreign
        ]
        return Outcome(self._findings, self._house.done, self._figures())

    async def _slot(self, number: int) -> None:
        count = 0
        while not self._over:
            count += 1
            name = f"{self._options.seed}/{number}/{count}"
            chance = random.Random(name)
            visitor = AsyncVisitor(
                lambda chance=chance: chance.choice(self._addresses),
                chance,
                patience=REPLY_SECONDS,
                stall=STALL_SECONDS,
                counted=self._counted,
            )
            talk = Conversation(name, visitor, chance, self._findings)
            self._talks.append(talk)
            try:
                await talk.run(lambda: self._over)
            except* AssertionError as failed:
                self._findings += [Finding("mismatch", name, str(error)) for error in failed.exceptions]

    async def _verify(self, talk: Conversation, gate: asyncio.Semaphore) -> None:
        async with gate:
            if not talk.session_id:
                # Its time was over before its first question was taken.
                return
            truth = await self._in_time(talk.truth(), talk.name, talk) or []
            for question in talk.questions:
                self._judge(talk, question, truth)
            strange = {entry.text for entry in truth if entry.role == "user"} - {it.text for it in talk.questions}
            if strange:
                talk.find("mismatch", talk.name, f"nobody asked {strange}")
            for tab in talk.tabs:
                await self._compare(talk, tab, truth)

    async def _in_time(self, reading: Coroutine[Any, Any, T], who: str, talk: Conversation) -> T | None:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await reading
        except TimeoutError:
            talk.find("stuck", who, f"could not be read within {PATIENCE_SECONDS:g} s")
            return None

    def _judge(self, talk: Conversation, question: Question, truth: list[Entry]) -> None:
        where = f"{talk.name} turn {question.turn}"
        turns = [entry.turn for entry in truth if entry.text == question.text]
        if len(turns) > 1:
            talk.find("duplicate", where, f"one question is the turns {turns}")
        answers = [entry for entry in truth if entry.turn in turns and entry.role == "assistant"]
        if not answers or answers[0].end is None:
            if question.answered:
                talk.find("stuck", where, f"no end of {question.text!r}")
            return
        answer, ended = answers[0], str(answers[0].end)
        self._ends[ended] += 1
        attempts = self._record.attempts[question.text]
        if ended == "stop" or (ended == "stopped" and question.may_be_stopped):
            for finding in judge(f"{where} ({talk.session_id})", answer.text, attempts, whole=ended == "stop"):
                self._findings.append(finding)
            self._kept += answer.text.count("⟦")
        else:
            talk.find("mismatch", where, f"ended with {ended} {answer.error!r}")
        if question.told not in {None, ended} and not self._was_lost(question.told_at):
            talk.find("mismatch", where, f"the stop was told {question.told}, and the end is {ended}")

    def _was_lost(self, at: float) -> bool:
        return any(at <= death <= at + UNSYNCED_SECONDS for death in self._house.valkey_deaths)

    async def _compare(self, talk: Conversation, tab: Tab, truth: list[Entry]) -> None:
        if await self._in_time(tab.catch_up(), f"{tab.name} at {tab.transcript.cursor}", talk) is None:
            return
        expected = [(entry.turn, entry.role, entry.text, entry.end) for entry in truth]
        got = [(entry.turn, entry.role, entry.text, entry.end) for entry in tab.transcript.messages]
        if got != expected:
            wrong = next((pair for pair in zip(got, expected, strict=False) if pair[0] != pair[1]), (got, expected))
            talk.find("mismatch", tab.name, f"reads {wrong[0]!r} where the log has {wrong[1]!r}")

    def _figures(self) -> dict[str, int | float]:
        written = self._record.written
        return {
            "conversations": len(self._talks),
            "tabs": sum(len(talk.tabs) for talk in self._talks),
            "turns": self._ends.total(),
            **{f"  ended {reason}": count for reason, count in sorted(self._ends.items())},
            "resumes": self._counted.resumed,
            "streams refused or broken": self._counted.refused,
            "requests repeated": self._counted.repeated,
            "snapshots": sum(tab.transcript.snapshots for talk in self._talks for tab in talk.tabs),
            "202s taken back by a death of Valkey": sum(talk.taken_back for talk in self._talks),
            "tokens written by the model": written,
            "tokens asked for again": written - self._kept,
            "faults skipped, their target being down": self._house.skipped,
            "stops slower than allowed": self._house.slow_stops,
        }
