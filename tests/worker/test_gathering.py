"""When what a turn says goes to the log: at once where somebody waits for it, else together with the other turns'."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import pytest

from midsentence.events import Delta, Reasoning
from midsentence.log import Lease, Write, Written
from midsentence_worker.turn_writer import Gathering, TurnWriter
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

FLUSH_SECONDS = 0.2


class Log:
    """A log that takes everything, and notes what came together and when."""

    def __init__(self) -> None:
        self.flushes: list[tuple[float, Sequence[Write]]] = []

    async def write(self, writes: Sequence[Write]) -> list[Written]:
        self.flushes.append((asyncio.get_running_loop().time(), writes))
        await asyncio.sleep(0)
        return [Written("ok", write.first + len(write.events) - 1) for write in writes]

    async def has_flushed(self, times: int) -> None:
        await eventually(lambda: len(self.flushes) >= times, description=f"{times} flushes")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def gathering(log: Log) -> AsyncGenerator[Gathering]:
    gathering = Gathering(cast("Any", log), FLUSH_SECONDS)
    sending = asyncio.create_task(gathering.run())
    yield gathering
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


def writer(gathering: Gathering, turn: int) -> TurnWriter:
    return TurnWriter(Lease("00" + "x" * 22, turn, 1, "a worker"), 0, gathering)


def said(*writes: Write) -> list[tuple[int, list[bytes]]]:
    return [(write.lease.turn, [data for _, data in write.events]) for write in writes]


async def test_first_pieces_go_at_once_and_the_next_ones_of_all_turns_together(log: Log, gathering: Gathering) -> None:
    """Seen red with each turn's next flush one interval after its own last, as two pipelines."""
    # The tick is a whole interval away: none may fall between the two.
    gathering._phase = asyncio.get_running_loop().time()  # pyright: ignore[reportPrivateUsage]
    one, two = writer(gathering, 1), writer(gathering, 2)
    one.add(Delta("a"))
    await log.has_flushed(1)
    two.add(Delta("b"))
    await log.has_flushed(2)
    for piece in ("c", "d"):
        one.add(Delta(piece))
        two.add(Delta(piece))
    begun = asyncio.get_running_loop().time()
    await log.has_flushed(3)
    assert [said(*writes) for _, writes in log.flushes[:2]] == [
        [(1, [b'{"text":"a"}'])],
        [(2, [b'{"text":"b"}'])],
    ]
    flushed, together = log.flushes[2]
    assert sorted(said(*together)) == [(1, [b'{"text":"cd"}']), (2, [b'{"text":"cd"}'])]
    assert flushed - begun < FLUSH_SECONDS * 1.5


async def test_a_piece_that_comes_after_a_silence_goes_at_once(log: Log, gathering: Gathering) -> None:
    one = writer(gathering, 1)
    one.add(Delta("a"))
    await log.has_flushed(1)
    await asyncio.sleep(FLUSH_SECONDS * 1.2)
    begun = asyncio.get_running_loop().time()
    one.add(Delta("b"))
    await log.has_flushed(2)
    assert log.flushes[1][0] - begun < FLUSH_SECONDS / 4


async def test_pieces_are_merged_with_their_kind_alone_and_keep_their_order(log: Log, gathering: Gathering) -> None:
    one = writer(gathering, 1)
    for piece in (Reasoning("a"), Reasoning("b"), Delta("c"), Delta(""), Delta("d"), Reasoning("e"), Delta("")):
        one.add(piece)
    await log.has_flushed(1)
    ((_, (write,)),) = log.flushes
    assert list(write.events) == [
        ("reasoning", b'{"text":"ab"}'),
        ("delta", b'{"text":"cd"}'),
        ("reasoning", b'{"text":"e"}'),
    ]
