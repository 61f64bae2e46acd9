"""One visitor's conversation and its open tabs, through all faults."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from midsentence.events import Entry
from tests.support.async_visitor import AsyncVisitor, Reply
from tests.support.client import DuplicateError, HoleError, SentEvent, Transcript
from tools.provider.checks import Violation, ViolationKind

# A question that is missing from log and queue for so long was lost with Valkey, or hangs in a server.
MISSING_SECONDS = 4.0
POLL_SECONDS = 0.5
# The server answers a stop when it sees the end, for which it waits 10 s.
STOP_SECONDS = 12.0
TURNS = (2, 7)
TABS = (1, 3)


@dataclass
class Question:
    text: str
    key: str
    on_busy: str
    model: str | None
    asked: float = field(default_factory=time.monotonic)
    turn: int = 0  # of the last 202; 0 before the first
    accepted: float = 0  # time of the last 202
    may_be_stopped: bool = False
    stop_reason: str | None = None  # the reason in the last reply to a stop
    stopped_at: float = 0  # time of that reply


class Tab:
    """A reader that is cut, waits, and reconnects with its cursor to any server."""

    def __init__(self, conversation: "Conversation", number: int) -> None:
        self.name = f"{conversation.name} tab {number}"
        self.transcript = self._new_transcript(conversation.session_id)
        self._conversation = conversation
        self._chance = random.Random(f"{conversation.name} {number}")
        self._remaining = 0

    @staticmethod
    def _new_transcript(session_id: str) -> Transcript:
        return Transcript(session_id, keeps_events=False)

    async def read(self) -> None:
        while True:
            # Some read to the end; most are cut at once, in mid-answer, or after the answer.
            self._remaining = self._chance.choice((1, 3, 8, 20, 50, 200, 10**9))
            status = await self._listen(until_end=self._chance.random() < 0.3)
            if status == 204:
                # An EventSource would not reconnect; this reader does after the next question.
                await self._conversation.next_question(1.0)
            elif status == 404:
                self._conversation.is_unknown = True
            await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.05, 0.2, 0.5, 2.0)) * self._chance.uniform(0.5, 1.5))

    async def catch_up(self) -> Transcript:
        """Read until the server answers that nothing is missing."""
        self._remaining = 10**9
        while await self._listen(until_end=True) != 204:
            await self._conversation.visitor.pause()
        return self.transcript

    async def _listen(self, *, until_end: bool) -> int:
        status = await self._conversation.visitor.read_events(
            self._conversation.session_id, self.transcript.cursor, self._take, until_end=until_end
        )
        if status not in {0, 200, 204, 404, 502, 503}:
            self._conversation.report("mismatch", self.name, f"a reader was answered {status}")
        return status

    def _take(self, event: SentEvent) -> bool:
        self._conversation.check_id(event, self.name)
        try:
            self.transcript.take(event)
        except (DuplicateError, HoleError) as error:
            self._conversation.report("hole" if isinstance(error, HoleError) else "duplicate", self.name, str(error))
            self.transcript = self._new_transcript(self._conversation.session_id)
            return True
        if event.type == "end":
            self._conversation.note_end(self.transcript)
        if event.type in {"message", "end", "state", "snapshot"}:
            self._conversation.changed.set()
        self._remaining -= event.id is not None
        return self._remaining <= 0


class Conversation:
    def __init__(
        self,
        name: str,
        visitor: AsyncVisitor,
        chance: random.Random,
        models: Sequence[str],
        violations: list[Violation],
    ) -> None:
        """`models` are those that a question may name."""
        self.name = name
        self.visitor = visitor
        self.session_id = ""
        self.questions: list[Question] = []
        self.tabs: list[Tab] = []
        self.is_unknown = False
        self.lost_acceptances = 0
        self.changed = asyncio.Event()
        # When a tab first saw the end of each turn.
        self.ended: dict[int, float] = {}
        self._asked = asyncio.Event()
        self._chance = chance
        self._models = (None, *models)
        self._violations = violations
        self._contents: dict[str, int] = {}

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Ask questions, some before the one before is answered; return when all are answered."""
        await self.visitor.get_cookie()
        await self._ask("queue")
        self.tabs = [Tab(self, number) for number in range(self._chance.randint(*TABS))]
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(tab.read()) for tab in self.tabs]
            for _ in range(self._chance.randint(*TURNS) - 1):
                if is_over():
                    break
                await self._next()
            await self._wait_for_answers()
            for reader in readers:
                reader.cancel()

    async def _next(self) -> None:
        match self._chance.choices(("wait", "queue", "interrupt", "stop"), (60, 14, 10, 16))[0]:
            case "wait":
                await self._wait_for_answers()
                await asyncio.sleep(self._chance.uniform(0, 0.4))
                await self._ask("queue")
            case "stop":
                await asyncio.sleep(self._chance.uniform(0, 1.5))
                await self._stop(self._chance.choice(self.questions[-2:]))
            case on_busy:
                await asyncio.sleep(self._chance.uniform(0, 1.0))
                await self._ask(on_busy)

    async def _ask(self, on_busy: str) -> None:
        tokens, rate = self._chance.choice((8, 30, 60, 120, 250)), self._chance.choice((40, 80, 160, 400))
        number = len(self.questions) + 1
        text = f"{self.name} question {number} tokens={tokens} rate={rate} seed={self._chance.randrange(10**6)}"
        if on_busy == "interrupt":
            for before in self.questions:
                before.may_be_stopped = True
        self.questions.append(Question(text, f"{self.name}-{number}", on_busy, self._chance.choice(self._models)))
        await self._post(self.questions[-1])
        self._asked.set()
        self._asked.clear()

    async def _post(self, question: Question) -> None:
        body = {"text": question.text} | ({} if question.model is None else {"model": question.model})
        if question is self.questions[0]:
            reply = await self.visitor.request("POST", "/sessions", body, key=question.key)
        else:
            body["on_busy"] = question.on_busy
            path = f"/sessions/{self.session_id}/messages"
            reply = await self.visitor.request("POST", path, body, key=question.key)
        if reply.status == 202:
            self._accepted(question, reply)
        elif reply.status == 404 and question is not self.questions[0]:
            self.is_unknown = True  # `_wait_for_answers` asks everything again, in order
        elif reply.status != 429:
            self.report("mismatch", self.name, f"a question was answered {reply.status} {reply.body[:200]!r}")

    def _accepted(self, question: Question, reply: Reply) -> None:
        session_id = reply.json["session_id"]
        if self.session_id not in {"", session_id}:
            self.report("duplicate", self.name, f"one key started {self.session_id} and {session_id}")
        self.session_id = session_id
        question.turn, question.accepted = reply.json["turn"], time.monotonic()

    async def _stop(self, question: Question) -> None:
        question.may_be_stopped = True
        if not question.turn:
            return
        path = f"/sessions/{self.session_id}/stop"
        reply = await self.visitor.request("POST", path, {"turn": question.turn}, reply_timeout=STOP_SECONDS)
        if reply.status == 200:
            question.stop_reason, question.stopped_at = reply.json["reason"], time.monotonic()
        elif reply.status not in {202, 404}:
            self.report("mismatch", self.name, f"a stop was answered {reply.status} {reply.body[:200]!r}")

    async def _wait_for_answers(self) -> None:
        """Wait until a tab has the end of every question; ask again what the log does not hold."""
        while True:
            self.changed.clear()
            unanswered = self._unanswered()
            if not unanswered:
                return
            if self.is_unknown or any(self._is_missing(question) for question in unanswered):
                await self._ask_again()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.changed.wait()

    def _unanswered(self) -> list[Question]:
        ended = {entry.turn for tab in self.tabs for entry in tab.transcript.messages if entry.end is not None}
        known = {entry.text: entry.turn for tab in self.tabs for entry in tab.transcript.messages}
        return [question for question in self.questions if known.get(question.text) not in ended]

    def _is_missing(self, question: Question) -> bool:
        if time.monotonic() - max(question.asked, question.accepted) < MISSING_SECONDS:
            return False
        logged_texts = {entry.text for tab in self.tabs for entry in tab.transcript.messages}
        states: list[dict[str, Any]] = [tab.transcript.state for tab in self.tabs if tab.transcript.state]
        waiting = {queued["text"] for state in states for queued in state["queued"]}
        return question.text not in logged_texts | waiting

    async def _ask_again(self) -> None:
        """Do as the page does when the session lacks its question: send it again with its key."""
        self.is_unknown = False
        entries = await self.logged()
        logged_texts = {entry.text for entry in entries}
        for position, question in enumerate(self.questions):
            if question.text in logged_texts:
                continue
            if question.accepted:
                self.lost_acceptances += 1
                for before in self.questions:
                    # Turn numbers may be given again, so a late stop may hit another question.
                    before.may_be_stopped = True
            if position == 0 or self.session_id:
                await self._post(question)

    async def logged(self) -> list[Entry]:
        """The conversation in the log; empty where the server does not know the session."""
        reply = await self.visitor.request("GET", f"/sessions/{self.session_id}")
        if reply.status != 200:
            return []
        return msgspec.convert(reply.json["messages"], list[Entry])

    async def next_question(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()

    def note_end(self, transcript: Transcript) -> None:
        assert transcript.cursor is not None
        self.ended.setdefault(int(transcript.cursor.partition(".")[0]), time.monotonic())

    def check_id(self, event: SentEvent, who: str) -> None:
        """Check that an id names one content for ever (1.1); a snapshot has the id of the event before it."""
        if event.id is None or event.type == "snapshot":
            return
        content = hash((event.type, event.data))
        if self._contents.setdefault(event.id, content) != content:
            self.report(
                "mismatch", who, f"{event.id} names another content than it did: {event.type} {event.data[:80]}"
            )

    def report(self, kind: ViolationKind, where: str, detail: str) -> None:
        self._violations.append(Violation(kind, f"{where} ({self.session_id})", detail))
