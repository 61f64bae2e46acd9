"""Compare what the log and every reader have with what the providers wrote."""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from midsentence.events import Entry
from tools.chaos.conversation import Conversation, Question, Tab
from tools.chaos.outages import Outages
from tools.provider.checks import Violation, check_answer
from tools.provider.record import Record

END_SECONDS = 60.0
VERIFIED_AT_ONCE = 12
# Writes this shortly before a kill of Valkey may not be on disk (appendfsync everysec).
UNSYNCED_SECONDS = 3.0

T = TypeVar("T")


class Verification:
    def __init__(
        self,
        conversations: Sequence[Conversation],
        record: Record,
        outages: Outages,
        valkey_deaths: Sequence[float],
        violations: list[Violation],
    ) -> None:
        self._conversations = conversations
        self._record = record
        self._outages = outages
        self._valkey_deaths = valkey_deaths
        self._violations = violations
        self._deadline = 0.0
        self._ends: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._answered_tokens = 0

    async def finished(self) -> None:
        """Read every conversation once more. What is wrong is appended to the violations."""
        gate = asyncio.Semaphore(VERIFIED_AT_ONCE)
        self._deadline = asyncio.get_running_loop().time() + END_SECONDS
        async with asyncio.TaskGroup() as group:
            for conversation in self._conversations:
                group.create_task(self._verify(conversation, gate))
        self._violations += [
            Violation("mismatch", "upstream", f"asked to continue {text!r}") for text in self._record.foreign
        ]

    def figures(self) -> dict[str, int | str]:
        written, turns, tabs = (
            self._record.written,
            self._ends.total(),
            [tab for conversation in self._conversations for tab in conversation.tabs],
        )
        errors = self._errors.total()
        return {
            "tabs": len(tabs),
            "snapshots": sum(tab.transcript.snapshots for tab in tabs),
            "202s lost with Valkey's last writes": sum(
                conversation.lost_acceptances for conversation in self._conversations
            ),
            "tokens written by the providers": written,
            "tokens written again": written - self._answered_tokens,
            "turns": turns,
            **{f"  ended {reason}": count for reason, count in sorted(self._ends.items())},
            "turns that ended in error, per cent": f"{100 * errors / max(1, turns):.2f}",
            **{f"  {code}": count for code, count in sorted(self._errors.items())},
        }

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
        if ended == "error":
            self._check_error(conversation, question, answer, where)
        elif ended != "stop" and not (ended == "stopped" and question.may_be_stopped):
            conversation.report("mismatch", where, f"ended with {ended}")
        self._violations += check_answer(
            f"{where} ({conversation.session_id})",
            answer.text,
            self._record.attempts[question.text],
            whole=ended == "stop",
        )
        self._answered_tokens += answer.text.count("⟦")
        if question.stop_reason not in {None, ended} and not self._may_be_lost(question.stopped_at):
            conversation.report(
                "mismatch", where, f"the stop was answered {question.stop_reason}, and the end is {ended}"
            )

    def _check_error(self, conversation: Conversation, question: Question, answer: Entry, where: str) -> None:
        self._errors[answer.error.code if answer.error else "no code"] += 1
        # It is known too late where no tab saw it; then an outage may be blamed that came afterwards.
        ended = conversation.ended.get(answer.turn, time.monotonic())
        if self._outages.a_model_lived(question.asked, ended):
            conversation.report("error", where, f"a model lived, and the turn ended with {answer.error!r}")

    def _may_be_lost(self, at: float) -> bool:
        return any(at <= death <= at + UNSYNCED_SECONDS for death in self._valkey_deaths)

    async def _compare(self, conversation: Conversation, tab: Tab, logged: list[Entry]) -> None:
        if await self._in_time(tab.catch_up(), f"{tab.name} at {tab.transcript.cursor}", conversation) is None:
            return
        expected = [(entry.turn, entry.role, entry.text, entry.end) for entry in logged]
        got = [(entry.turn, entry.role, entry.text, entry.end) for entry in tab.transcript.messages]
        if got != expected:
            wrong = next((pair for pair in zip(got, expected, strict=False) if pair[0] != pair[1]), (got, expected))
            conversation.report("mismatch", tab.name, f"reads {wrong[0]!r} where the log has {wrong[1]!r}")
