"""A chaos run: conversations, faults, and a check of every text that was read."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.async_visitor import AsyncVisitor, RetryCounts
from tests.support.processes import Stack, free_port
from tools.chaos.conversation import Conversation
from tools.chaos.injector import FaultInjector, addresses, stack
from tools.chaos.outages import Outages
from tools.chaos.schedule import (
    CHAT_WEIGHTS,
    REATTACHED_WEIGHTS,
    RESPONSE_WEIGHTS,
    Action,
    Victim,
    schedule,
    stream_fault,
)
from tools.chaos.verification import Verification
from tools.provider.checks import Violation
from tools.provider.faults import StreamFault
from tools.provider.record import Record
from tools.provider.upstream import AttemptsUpstream, Stream

# How long after the last fault, with all processes running, every turn must have its end.
END_SECONDS = 60.0
# When a visitor gives up a request, and a stream, which has a ping every second.
REPLY_SECONDS, STALL_SECONDS = 4.0, 2.5

MODELS = ("first", "second")


@dataclass(frozen=True)
class Options:
    seed: int
    seconds: float
    servers: int = 3
    workers: int = 3
    sessions: int = 16
    takeover: str = "auto"
    api: str = "chat"
    models: int = 2
    tails: bool = False


@dataclass
class Outcome:
    violations: list[Violation]
    actions: Counter[tuple[Victim, Action]]
    spoilt_streams: Counter[str]
    figures: dict[str, int | str] = field(default_factory=dict[str, int | str])

    def count(self, kind: str) -> int:
        return sum(violation.kind == kind for violation in self.violations)


def run(options: Options, directory: Path, log: Callable[[str], None]) -> Outcome:
    record = Record()

    def fault_of(stream: Stream) -> StreamFault | None:
        weights = CHAT_WEIGHTS if options.api == "chat" else RESPONSE_WEIGHTS
        return stream_fault(
            options.seed, stream.question, stream.number, REATTACHED_WEIGHTS if stream.reattaches else weights
        )

    with ExitStack() as exit_stack:
        # Ports that the system gives to no connection while a provider refuses connections.
        providers = [AttemptsUpstream(record, fault_of, port=free_port()) for _ in range(options.models)]
        for provider in providers:
            exit_stack.enter_context(provider)
        processes = stack(
            directory,
            providers[0],
            servers=options.servers,
            workers=options.workers,
            settings={
                "MIDSENTENCE_TAKEOVER": options.takeover,
                "MIDSENTENCE_API": options.api,
                **(several_models(directory / "models.toml", providers) if len(providers) > 1 else {}),
            },
        )
        exit_stack.callback(processes.stop)
        processes.start()
        return asyncio.run(Run(options, processes, providers, record, log).finished())


def several_models(path: Path, providers: Sequence[AttemptsUpstream]) -> dict[str, str]:
    """Write the file of the models, each the fallback of the others. Returns the settings that name it."""
    names = MODELS[: len(providers)]
    lines = [f"fallbacks = {list(names)}"]
    for name, provider in zip(names, providers, strict=True):
        lines += ["[[models]]", f'name = "{name}"', 'model = "scripted"', f'base_url = "{provider.url}"']
    path.write_text("\n".join(lines))
    # The file names the models, so no other variable may.
    return {"MIDSENTENCE_MODELS": str(path), "MIDSENTENCE_MODEL": "", "OPENAI_BASE_URL": ""}


class Run:
    def __init__(
        self,
        options: Options,
        processes: Stack,
        providers: Sequence[AttemptsUpstream],
        record: Record,
        log: Callable[[str], None],
    ) -> None:
        self._options = options
        self._providers = providers
        self._outages = Outages(providers)
        self._injector = FaultInjector(processes, self._outages, log)
        self._record = record
        self._log = log
        self._addresses = addresses(processes)
        self._retries = RetryCounts()
        self._violations: list[Violation] = []
        self._conversations: list[Conversation] = []
        self._models = MODELS if len(providers) > 1 else ()
        self._is_over = False

    async def finished(self) -> Outcome:
        options = self._options
        slots = [asyncio.create_task(self._slot(number)) for number in range(options.sessions)]
        plan = schedule(
            options.seed,
            options.seconds,
            servers=options.servers,
            workers=options.workers,
            providers=options.models,
            tails=options.tails,
        )
        await self._injector.inject(plan)
        self._is_over = True
        self._log("All processes run again; now every turn must end at every reader.")
        _, late = await asyncio.wait(slots, timeout=END_SECONDS)
        for slot in late:
            slot.cancel()
        await asyncio.gather(*slots, return_exceptions=True)
        self._log(f"Reading {len(self._conversations)} conversations again.")
        for provider in self._providers:
            provider.link()
        verification = Verification(
            self._conversations, self._record, self._outages, self._injector.valkey_deaths, self._violations
        )
        await verification.finished()
        return Outcome(
            self._violations, self._injector.counts, self._record.spoilt, self._figures() | verification.figures()
        )

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
            conversation = Conversation(name, visitor, chance, self._models, self._violations)
            self._conversations.append(conversation)
            try:
                await conversation.run(lambda: self._is_over)
            except* AssertionError as failed:
                self._violations += [Violation("mismatch", name, str(error)) for error in failed.exceptions]

    def _figures(self) -> dict[str, int | str]:
        return {
            "conversations": len(self._conversations),
            "resumes": self._retries.resumed,
            "streams refused or broken": self._retries.refused,
            "requests repeated": self._retries.repeated,
            "requests that a provider refused, being down": self._record.refused,
            "faults skipped, all targets being down": self._injector.skipped,
            "stops slower than allowed": self._injector.slow_stops,
        }
