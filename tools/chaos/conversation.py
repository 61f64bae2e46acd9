"""One visitor's conversation and its open tabs, over whatever happens to the house."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from midsentence.events import Entry
from tests.support.client import DuplicateError, HoleError, SentEvent, Transcript
from tests.support.visitors import AsyncVisitor, Reply
from tools.chaos.verdict import Finding, Wrong

# A question that is in neither the log nor the queue for so long after its 202 was taken back, or hangs in a server.
MISSING_SECONDS = 4.0
LOOK_SECONDS = 0.5
# A stop is answered when its end was observed, for which the server waits 10 s.
STOP_SECONDS = 12.0
TURNS = (2, 7)
TABS = (1, 3)


@dataclass
class Question:
    text: str
    key: str
    on_busy: str
    asked: float = field(default_factory=time.monotonic)
    turn: int = 0  # as the last 202 said; 0 while there was none
    answered: float = 0  # when the last 202 came
    may_be_stopped: bool = False
    told: str | None = None  # how it ended, as a stop's reply said, and when
    told_at: float = 0


class Tab:
    """A reader that is cut, waits and comes back, with its cursor, to any server."""

    def __init__(self, talk: "Conversation", number: int) -> None:
        self.name = f"{talk.name} tab {number}"
        self.transcript = self._blank(talk.session_id)
        self._talk = talk
        self._chance = random.Random(f"{talk.name} {number}")
        self._left = 0

    @staticmethod
    def _blank(session_id: str) -> Transcript:
        return Transcript(session_id, keeps=False)

    async def read(self) -> None:
        while True:
            # Some stay until the end, most are cut: at once, in mid-answer, or when all is said.
            self._left = self._chance.choice((1, 3, 8, 20, 50, 200, 10**9))
            status = await self._listen(until_end=self._chance.random() < 0.3)
            if status == 204:
                # An EventSource would not come back; this one does when somebody asked again.
                await self._talk.something_asked(1.0)
            elif status == 404:
                self._talk.forgotten = True
            await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.05, 0.2, 0.5, 2.0)) * self._chance.uniform(0.5, 1.5))

    async def catch_up(self) -> Transcript:
        """Read until the server says that nothing is missing."""
        self._left = 10**9
        while await self._listen(until_end=True) != 204:
            await self._talk.visitor.pause()
        return self.transcript

    async def _listen(self, *, until_end: bool) -> int:
        status = await self._talk.visitor.listen(
            self._talk.session_id, self.transcript.cursor, self._take, until_end=until_end
        )
        if status not in {0, 200, 204, 404, 502, 503}:
            self._talk.find("mismatch", self.name, f"a reader was answered {status}")
        return status

    def _take(self, event: SentEvent) -> bool:
        self._talk.check_name(event, self.name)
        try:
            self.transcript.take(event)
        except (DuplicateError, HoleError) as error:
            self._talk.find("hole" if isinstance(error, HoleError) else "duplicate", self.name, str(error))
            self.transcript = self._blank(self._talk.session_id)
            return True
        if event.type in {"message", "end", "state", "snapshot"}:
            self._talk.news.set()
        self._left -= event.id is not None
        return self._left <= 0


class Conversation:
    def __init__(self, name: str, visitor: AsyncVisitor, chance: random.Random, findings: list[Finding]) -> None:
        self.name = name
        self.visitor = visitor
        self.session_id = ""
        self.questions: list[Question] = []
        self.tabs: list[Tab] = []
        self.forgotten = False
        self.taken_back = 0
        self.news = asyncio.Event()
        self._asked = asyncio.Event()
        self._chance = chance
        self._findings = findings
        self._contents: dict[str, int] = {}

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Ask one question after the other, or before the other is answered; leave when all are answered."""
        await self.visitor.arrive()
        await self._ask("queue")
        self.tabs = [Tab(self, number) for number in range(self._chance.randint(*TABS))]
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(tab.read()) for tab in self.tabs]
            for _ in range(self._chance.randint(*TURNS) - 1):
                if is_over():
                    break
                await self._next()
            await self._answered()
            for reader in readers:
                reader.cancel()

    async def _next(self) -> None:
        match self._chance.choices(("wait", "queue", "interrupt", "stop"), (60, 14, 10, 16))[0]:
            case "wait":
                await self._answered()
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
        self.questions.append(Question(text, f"{self.name}-{number}", on_busy))
        await self._post(self.questions[-1])
        self._asked.set()
        self._asked.clear()

    async def _post(self, question: Question) -> None:
        if question is self.questions[0]:
            reply = await self.visitor.request("POST", "/sessions", {"text": question.text}, key=question.key)
        else:
            body = {"text": question.text, "on_busy": question.on_busy}
            path = f"/sessions/{self.session_id}/messages"
            reply = await self.visitor.request("POST", path, body, key=question.key)
        if reply.status == 202:
            self._accepted(question, reply)
        elif reply.status == 404 and question is not self.questions[0]:
            self.forgotten = True  # `_answered` asks everything again, in order
        elif reply.status != 429:
            self.find("mismatch", self.name, f"a question was answered {reply.status} {reply.body[:200]!r}")

    def _accepted(self, question: Question, reply: Reply) -> None:
        session_id = reply.json["session_id"]
        if self.session_id not in {"", session_id}:
            self.find("duplicate", self.name, f"one key started {self.session_id} and {session_id}")
        self.session_id = session_id
        question.turn, question.answered = reply.json["turn"], time.monotonic()

    async def _stop(self, question: Question) -> None:
        question.may_be_stopped = True
        if not question.turn:
            return
        path = f"/sessions/{self.session_id}/stop"
        reply = await self.visitor.request("POST", path, {"turn": question.turn}, patience=STOP_SECONDS)
        if reply.status == 200:
            question.told, question.told_at = reply.json["reason"], time.monotonic()
        elif reply.status not in {202, 404}:
            self.find("mismatch", self.name, f"a stop was answered {reply.status} {reply.body[:200]!r}")

    async def _answered(self) -> None:
        """Wait until every question has its end, as one of the tabs sees it; ask again what the log does not know."""
        while True:
            self.news.clear()
            open_ones = self._open_questions()
            if not open_ones:
                return
            if self.forgotten or any(self._is_missing(question) for question in open_ones):
                await self._ask_again()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self.news.wait()

    def _open_questions(self) -> list[Question]:
        ended = {entry.turn for tab in self.tabs for entry in tab.transcript.messages if entry.end is not None}
        known = {entry.text: entry.turn for tab in self.tabs for entry in tab.transcript.messages}
        return [question for question in self.questions if known.get(question.text) not in ended]

    def _is_missing(self, question: Question) -> bool:
        if time.monotonic() - max(question.asked, question.answered) < MISSING_SECONDS:
            return False
        said = {entry.text for tab in self.tabs for entry in tab.transcript.messages}
        states: list[dict[str, Any]] = [tab.transcript.state for tab in self.tabs if tab.transcript.state]
        waiting = {queued["text"] for state in states for queued in state["queued"]}
        return question.text not in said | waiting

    async def _ask_again(self) -> None:
        """What a page does when the session does not know its question: send it again, with its key."""
        self.forgotten = False
        entries = await self.truth()
        said = {entry.text for entry in entries}
        for position, question in enumerate(self.questions):
            if question.text in said:
                continue
            if question.answered:
                self.taken_back += 1
                for before in self.questions:
                    # Turn numbers may be given anew, and a stop that comes late names a number.
                    before.may_be_stopped = True
            if position == 0 or self.session_id:
                await self._post(question)

    async def truth(self) -> list[Entry]:
        """The conversation as the log has it; nothing, where the session is not known."""
        reply = await self.visitor.request("GET", f"/sessions/{self.session_id}")
        if reply.status != 200:
            return []
        return msgspec.convert(reply.json["messages"], list[Entry])

    async def something_asked(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()

    def check_name(self, event: SentEvent, who: str) -> None:
        """An id names one content for ever (1.1); a snapshot's is that of the event before it."""
        if event.id is None or event.type == "snapshot":
            return
        content = hash((event.type, event.data))
        if self._contents.setdefault(event.id, content) != content:
            self.find("mismatch", who, f"{event.id} names another content than it did: {event.type} {event.data[:80]}")

    def find(self, wrong: Wrong, where: str, what: str) -> None:
        self._findings.append(Finding(wrong, f"{where} ({self.session_id})", what))
