"""A rolling restart of every server and worker, behind nginx and under load, loses and repeats nothing."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import running
from tests.support.async_visitor import AsyncVisitor, RetryCounts
from tests.support.client import SentEvent, Transcript
from tests.support.http_client import Address
from tests.support.nginx import nginx
from tests.support.processes import ServerChild, Stack, WorkerChild
from tests.support.upstream import Upstream, text_for
from tests.support.waiting import eventually

pytestmark = [pytest.mark.needs_nginx, pytest.mark.anyio]

SESSIONS = 40
QUESTION = "tokens={tokens} rate=15 seed={seed}"
LONGEST_WAIT_SECONDS = 30


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Stack, Address]]:
    with Upstream() as upstream:
        settings = {"MIDSENTENCE_DRAIN_SECONDS": "1"}
        stack = Stack(tmp_path_factory.mktemp("stack"), upstream, servers=2, workers=2, settings=settings)
        for started in running(stack):
            behind = [("127.0.0.1", server.port) for server in started.servers]
            with nginx(behind, tmp_path_factory.mktemp("nginx")) as url:
                yield started, Address("127.0.0.1", int(url.rpartition(":")[2]))


class Reader:
    """Asks, reads the answer, reconnects with the cursor whenever the stream ends, and asks again."""

    def __init__(self, number: int, front: Address, retries: RetryCounts) -> None:
        self.questions: list[str] = []
        self.transcript = Transcript("")
        self._name = f"reader {number}"
        self._chance = random.Random(number)
        self._visitor = AsyncVisitor(lambda: front, self._chance, retries=retries)

    async def read(self, is_over: asyncio.Event) -> None:
        await self._visitor.get_cookie()
        while not is_over.is_set():
            await self._ask()
            while self.transcript.end(len(self.questions)) is None:
                session_id, cursor = self.transcript.session_id, self.transcript.cursor
                status = await self._visitor.read_events(session_id, cursor, self._take)
                assert status in {0, 200, 502, 503, 504}, status
                await self._visitor.pause()

    async def _ask(self) -> None:
        tokens, seed = self._chance.randint(75, 110), self._chance.randrange(10**6)
        self.questions.append(QUESTION.format(tokens=tokens, seed=seed))
        session_id = self.transcript.session_id
        path = f"/sessions/{session_id}/messages" if session_id else "/sessions"
        key = f"{self._name} {len(self.questions)}"
        asked = await self._visitor.request("POST", path, {"text": self.questions[-1]}, key=key)
        assert (asked.status, asked.json["turn"]) == (202, len(self.questions)), asked
        if not session_id:
            self.transcript = Transcript(asked.json["session_id"])

    def _take(self, event: SentEvent) -> bool:
        self.transcript.take(event)
        return event.type == "end"


@pytest.mark.timeout(110)  # half a minute, more on a busy machine
async def test_a_rolling_restart_loses_and_repeats_no_text(
    deployment: tuple[Stack, Address],
) -> None:
    """8.11: every answer of forty sessions is exactly the model's."""
    stack, front = deployment
    retries, is_over = RetryCounts(), asyncio.Event()
    readers = [Reader(number, front, retries) for number in range(SESSIONS)]
    async with asyncio.timeout(80), asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.read(is_over))
        await eventually(
            lambda: all(reader.transcript.cursor for reader in readers), description="all read", seconds=20
        )
        for child in (*stack.servers, *stack.workers):
            await asyncio.to_thread(restart, child)
        is_over.set()
    for reader in readers:
        entries = [(entry.role, entry.text, entry.end) for entry in reader.transcript.messages]
        expected = [
            (("user", asked, None), ("assistant", "".join(text_for(asked)), "stop")) for asked in reader.questions
        ]
        assert entries == [entry for pair in expected for entry in pair]
        assert reader.transcript.snapshots == 1, "every cursor must be honoured"
    assert retries.resumed >= SESSIONS, "too few readers had to reconnect"


async def test_a_question_sent_to_a_stopping_server_is_asked_once(deployment: tuple[Stack, Address]) -> None:
    """4.4: a POST that got 502, 503 or no reply is repeated with its key, and its session has one turn."""
    stack, front = deployment
    before = Counter(request.question for request in stack.upstream.requests)
    retries = RetryCounts()
    is_over = asyncio.Event()

    async def ask(number: int) -> list[str]:
        visitor = AsyncVisitor(lambda: front, random.Random(number), retries=retries)
        await visitor.get_cookie()
        questions: list[str] = []
        while not is_over.is_set():
            questions.append(f"Is anybody there? {number}/{len(questions)}")
            asked = await visitor.request("POST", "/sessions", {"text": questions[-1]}, key=questions[-1])
            assert asked.status == 202, asked
            assert asked.json["turn"] == 1
            await visitor.pause()
        listed = await visitor.request("GET", "/sessions")
        assert len(listed.json["sessions"]) == min(len(questions), 200)
        return questions

    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(number)) for number in range(8)]
        for server in stack.servers:
            await asyncio.to_thread(restart, server)
        is_over.set()
    questions = [question for task in asking for question in task.result()]
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while (asked := Counter(it.question for it in stack.upstream.requests) - before).total() < len(questions):
        assert time.monotonic() < deadline, f"{asked.total()} of {len(questions)} questions reached the model"
        await asyncio.sleep(0.05)
    assert asked == Counter(questions)


async def test_a_question_whose_202_is_lost_is_asked_once(deployment: tuple[Stack, Address]) -> None:
    """4.4: Redis stored the question, its server died before the 202, and the repeated POST finds the same session."""
    stack, front = deployment
    visitor = AsyncVisitor(lambda: front, random.Random(1))
    await visitor.get_cookie()
    question = f"tokens=3 {'so ' * 1000}"
    stack.redis.pause()
    asking = asyncio.create_task(visitor.request("POST", "/sessions", {"text": question}, key="lost"))
    await eventually(lambda: unread(stack) > len(question), description="the question is sent to Redis")
    for server in stack.servers:
        server.kill()
    stack.redis.resume()
    await eventually(lambda: asked(stack, question) == 1, description="a worker asks the model, without any server")
    for server in stack.servers:
        await asyncio.to_thread(server.start)
    reply = await asking
    assert visitor.retries.repeated > 0
    assert (reply.status, reply.json["turn"]) == (202, 1)
    transcript = Transcript(reply.json["session_id"])

    def take(event: SentEvent) -> bool:
        transcript.take(event)
        return event.type == "end"

    assert await visitor.read_events(transcript.session_id, None, take, until_end=True) == 200
    assert transcript.answer() == "".join(text_for(question))
    assert asked(stack, question) == 1
    assert len((await visitor.request("GET", "/sessions")).json["sessions"]) == 1


def asked(stack: Stack, question: str) -> int:
    return sum(request.question == question for request in stack.upstream.requests)


def unread(stack: Stack) -> int:
    """Count the bytes that Redis has not read from the servers' connections (proc(5), /proc/net/tcp).

    The workers' connections do not count: what they append may be longer than a question.
    """
    servers = {inode for server in stack.servers for inode in sockets(server.process.pid)}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    theirs = {port_of(row[1]) for row in rows if row[9] in servers}
    waiting = [row[4] for row in rows if port_of(row[1]) == stack.redis.port and port_of(row[2]) in theirs]
    return sum(int(queues.partition(":")[2], 16) for queues in waiting)


def sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found: set[str] = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def restart(child: ServerChild | WorkerChild) -> None:
    child.stop()
    child.start()
