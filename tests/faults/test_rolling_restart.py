"""Every server and every worker is restarted, one after the other, behind nginx and under load: nobody notices.

Taken out once each, and seen to fail here: the drain of the servers' streams (a stop then takes its whole grace, and
the readers with it), the hand-over of a worker that stops (each turn then waits for its lease), and the reset of
a takeover (the new attempt is then added to the old one).
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Generator

import pytest

from tests.conftest import running
from tests.support.client import SentEvent, Transcript
from tests.support.nginx import nginx
from tests.support.processes import ServerChild, Stack, WorkerChild
from tests.support.streams import Address
from tests.support.upstream import Upstream, text_for
from tests.support.visitors import AsyncVisitor, Counted

pytestmark = [pytest.mark.needs_nginx, pytest.mark.anyio]

SESSIONS = 40
# Longer than all restarts take together, so that every answer is met by several of them.
QUESTION = "tokens={tokens} rate=40 seed={seed}"
LONGEST_WAIT_SECONDS = 30


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Stack, Address]]:
    with Upstream() as upstream:
        stack = Stack(tmp_path_factory.mktemp("house"), upstream, servers=2, workers=2)
        for started in running(stack):
            behind = [("127.0.0.1", server.port) for server in started.servers]
            with nginx(behind, tmp_path_factory.mktemp("nginx")) as url:
                yield started, Address("127.0.0.1", int(url.rpartition(":")[2]))


class Reader:
    """Asks one question and reads its answer, coming back with the cursor whenever the stream ends."""

    def __init__(self, number: int, front: Address, counted: Counted) -> None:
        chance = random.Random(number)
        self.question = QUESTION.format(tokens=chance.randint(300, 450), seed=number)
        self.visitor = AsyncVisitor(lambda: front, chance, counted=counted)
        self.key = f"question {number}"
        self.transcript = Transcript("")

    async def read(self) -> None:
        await self.visitor.arrive()
        body = {"text": self.question}
        asked = await self.visitor.request("POST", "/sessions", body, key=self.key)
        assert asked.status == 202, asked
        self.transcript = Transcript(asked.json["session_id"])
        while self.transcript.end() is None:
            status = await self.visitor.listen(self.transcript.session_id, self.transcript.cursor, self._take)
            assert status in {0, 200, 502, 503, 504}, status
            await self.visitor.pause()
        again = await self.visitor.request("POST", "/sessions", body, key=self.key)
        assert again.json == asked.json, "the same key asked twice"

    def _take(self, event: SentEvent) -> bool:
        self.transcript.take(event)
        return event.type == "end"


async def test_a_rolling_restart_of_everything_under_load_loses_and_repeats_nothing(
    house: tuple[Stack, Address],
) -> None:
    """Forty answers of several hundred tokens are exactly the model's (5.11); each question is one turn (4.4)."""
    stack, front = house
    counted = Counted()
    readers = [Reader(number, front, counted) for number in range(SESSIONS)]
    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        reading = [group.create_task(reader.read()) for reader in readers]
        await asyncio.sleep(0)
        for child in (*stack.servers, *stack.workers):
            await asyncio.to_thread(restart, child)
        in_the_middle = sum(not task.done() for task in reading)
    for reader in readers:
        assert reader.transcript.answer() == "".join(text_for(reader.question)), reader.question
        assert reader.transcript.end() == "stop"
    assert in_the_middle > SESSIONS // 2, "the answers were over before the restarts were"
    assert counted.resumed >= SESSIONS, "hardly anybody was sent away"


async def test_questions_that_meet_a_stopping_server_are_asked_once(house: tuple[Stack, Address]) -> None:
    """4.4: a POST that was answered 502, 503 or not at all is repeated with its key, and its session has one turn."""
    stack, front = house
    before = Counter(request.question for request in stack.upstream.requests)
    counted = Counted()
    is_over = asyncio.Event()

    async def ask(number: int) -> list[str]:
        visitor = AsyncVisitor(lambda: front, random.Random(number), counted=counted)
        await visitor.arrive()
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


def restart(child: ServerChild | WorkerChild) -> None:
    child.stop()
    child.start()
