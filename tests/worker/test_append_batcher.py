"""When a turn's events are flushed: at once after a silence, otherwise together with the other turns' events.

And no turn waits for the server of another one.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import pytest

from midsentence.events import Delta, Reasoning
from midsentence.lease import Lease
from midsentence.log import Write, Written
from midsentence_worker import append_batcher
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.ticks import Ticks
from midsentence_worker.turn_writer import TurnWriter
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

FLUSH_SECONDS = 0.2


class Log:
    """A log that accepts every write, and records the writes of each flush and its time.

    The session's partition is its server. A server in `stalled` answers when its event is set.
    """

    def __init__(self) -> None:
        self.flushes: list[tuple[float, Sequence[Write]]] = []
        self.stalled: dict[str, asyncio.Event] = {}
        self.defect: Exception | None = None

    async def write(self, writes: Sequence[Write]) -> list[Written]:
        self.flushes.append((asyncio.get_running_loop().time(), writes))
        await asyncio.sleep(0)
        if self.defect is not None:
            raise self.defect
        for server in {_server(write.lease) for write in writes} & self.stalled.keys():
            await self.stalled[server].wait()
        return [Written("ok", write.first + len(write.events) - 1) for write in writes]

    def servers(self, leases: Sequence[Lease]) -> Sequence[str]:
        return [_server(lease) for lease in leases]

    async def has_flushed(self, times: int) -> None:
        await eventually(lambda: len(self.flushes) >= times, description=f"{times} flushes")


def _server(lease: Lease) -> str:
    return lease.session_id[:2]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def batcher(log: Log) -> AsyncGenerator[AppendBatcher]:
    batcher = AppendBatcher(cast("Any", log), FLUSH_SECONDS)
    running = asyncio.create_task(batcher.run())
    yield batcher
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def writer(batcher: AppendBatcher, turn: int, server: str = "00") -> TurnWriter:
    return TurnWriter(Lease(server + "x" * 22, turn, 1, "a worker"), 0, batcher)


def set_ticks(batcher: AppendBatcher, interval: float, offset: float | None = None) -> None:
    """Let ticks fall on `offset`, or now."""
    at = asyncio.get_running_loop().time() if offset is None else offset
    batcher._ticks = Ticks(interval, at)  # pyright: ignore[reportPrivateUsage]


def texts(*writes: Write) -> list[tuple[int, list[bytes]]]:
    return [(write.lease.turn, [data for _, data in write.events]) for write in writes]


async def test_first_pieces_are_flushed_at_once_and_later_pieces_of_all_turns_together(
    log: Log, batcher: AppendBatcher
) -> None:
    # The next tick is a whole interval away, so that none separates the two turns.
    set_ticks(batcher, FLUSH_SECONDS)
    one, two = writer(batcher, 1), writer(batcher, 2)
    one.add(Delta("a"))
    await log.has_flushed(1)
    two.add(Delta("b"))
    await log.has_flushed(2)
    for piece in ("c", "d"):
        one.add(Delta(piece))
        two.add(Delta(piece))
    begun = asyncio.get_running_loop().time()
    await log.has_flushed(3)
    assert [texts(*writes) for _, writes in log.flushes[:2]] == [
        [(1, [b'{"text":"a"}'])],
        [(2, [b'{"text":"b"}'])],
    ]
    flushed, together = log.flushes[2]
    assert sorted(texts(*together)) == [(1, [b'{"text":"cd"}']), (2, [b'{"text":"cd"}'])]
    assert flushed - begun < FLUSH_SECONDS * 1.5


async def test_a_piece_after_a_silence_is_flushed_at_once(log: Log, batcher: AppendBatcher) -> None:
    one = writer(batcher, 1)
    one.add(Delta("a"))
    await log.has_flushed(1)
    await asyncio.sleep(FLUSH_SECONDS * 1.2)
    begun = asyncio.get_running_loop().time()
    one.add(Delta("b"))
    await log.has_flushed(2)
    assert log.flushes[1][0] - begun < FLUSH_SECONDS / 4


async def test_quiet_turns_share_a_pipeline_while_others_are_flushed(log: Log, batcher: AppendBatcher) -> None:
    set_ticks(batcher, 10 * FLUSH_SECONDS)
    one, two, three = (writer(batcher, turn) for turn in (1, 2, 3))
    for turn in (one, two):
        turn.add(Delta("a"))
        await log.has_flushed(turn.lease.turn)
        await eventually(lambda turn=turn: not turn.has_unwritten, description="the log has it")
        turn.flush.next_tick = 0.0
    # The next short tick is two fifths of a second away.
    set_ticks(batcher, 10 * FLUSH_SECONDS)
    three.add(Delta("first"))
    await log.has_flushed(3)
    one.add(Delta("b"))
    await asyncio.sleep(0.01)
    two.add(Delta("c"))
    await log.has_flushed(4)
    assert [texts(*writes) for _, writes in log.flushes[2:3]] == [[(3, [b'{"text":"first"}'])]]
    assert sorted(texts(*log.flushes[3][1])) == [(1, [b'{"text":"b"}']), (2, [b'{"text":"c"}'])]
    assert log.flushes[3][0] - log.flushes[2][0] < FLUSH_SECONDS * 5


async def test_a_piece_after_a_flush_that_was_early_waits_for_the_next_tick(
    log: Log, batcher: AppendBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timers may be due before the tick. The piece would be a pipeline of its own at each tick."""
    one = writer(batcher, 1)
    one.add(Delta("a"))
    await log.has_flushed(1)
    await eventually(lambda: not one.has_unwritten, description="the log has it")
    monkeypatch.setattr(append_batcher, "EARLY_SECONDS", FLUSH_SECONDS / 2)
    tick = one.flush.next_tick = asyncio.get_running_loop().time() + FLUSH_SECONDS / 4
    set_ticks(batcher, FLUSH_SECONDS, tick)
    batcher._next_short_tick = tick  # pyright: ignore[reportPrivateUsage]
    one.add(Delta("b"))
    batcher._flush_due()  # pyright: ignore[reportPrivateUsage]
    await log.has_flushed(2)
    await eventually(lambda: not one.has_unwritten, description="the log has it")
    one.add(Delta("c"))
    assert one.flush.at > tick + FLUSH_SECONDS / 2


async def test_only_pieces_of_one_kind_are_merged_and_order_is_kept(log: Log, batcher: AppendBatcher) -> None:
    one = writer(batcher, 1)
    for piece in (Reasoning("a"), Reasoning("b"), Delta("c"), Delta(""), Delta("d"), Reasoning("e"), Delta("")):
        one.add(piece)
    await log.has_flushed(1)
    ((_, (write,)),) = log.flushes
    assert list(write.events) == [
        ("reasoning", b'{"text":"ab"}'),
        ("delta", b'{"text":"cd"}'),
        ("reasoning", b'{"text":"e"}'),
    ]


async def test_half_a_character_becomes_a_replacement_character(log: Log, batcher: AppendBatcher) -> None:
    """It cannot be encoded, and the error would stop the flush of all turns."""
    one = writer(batcher, 1)
    for piece in ("a\ud83d", "\ude00b", "\ud83d"):
        one.add(Delta(piece))
    await log.has_flushed(1)
    assert texts(*log.flushes[0][1]) == [(1, ['{"text":"a😀b\ufffd"}'.encode()])]


async def test_a_server_that_stalls_delays_no_turn_of_another(log: Log, batcher: AppendBatcher) -> None:
    stuck, free = writer(batcher, 1, "00"), writer(batcher, 2, "01")
    log.stalled["00"] = asyncio.Event()
    stuck.add(Delta("a"))
    free.add(Delta("b"))
    await log.has_flushed(2)
    assert sorted(texts(*writes) for _, writes in log.flushes) == [
        [(1, [b'{"text":"a"}'])],
        [(2, [b'{"text":"b"}'])],
    ]
    for number in range(3):
        await eventually(lambda: not free.has_unwritten, description="the other server answers")
        free.add(Delta(str(number)))
    await log.has_flushed(5)
    assert [texts(*writes) for _, writes in log.flushes[2:]] == [[(2, [b'{"text":"%d"}' % n])] for n in range(3)]
    assert stuck.has_unwritten


async def test_a_turn_has_at_most_one_write_in_flight(log: Log, batcher: AppendBatcher) -> None:
    """Its next write has the events that came meanwhile, as one: a stalled server gets no queue of them."""
    one = writer(batcher, 1)
    stalled = log.stalled["00"] = asyncio.Event()
    one.add(Delta("a"))
    await log.has_flushed(1)
    for _ in range(3):
        one.add(Delta("b"))
        await asyncio.sleep(FLUSH_SECONDS)
    assert len(log.flushes) == 1
    stalled.set()
    await log.has_flushed(2)
    assert texts(*log.flushes[1][1]) == [(1, [b'{"text":"bbb"}'])]


async def test_a_server_is_sent_two_batches_before_it_answers_and_the_rest_together(
    log: Log, batcher: AppendBatcher
) -> None:
    turns = [writer(batcher, turn) for turn in range(1, 6)]
    stalled = log.stalled["00"] = asyncio.Event()
    for turn in turns[:2]:
        turn.add(Delta("a"))
        await log.has_flushed(turn.lease.turn)
    for turn in turns[2:]:
        turn.add(Delta("a"))
        await asyncio.sleep(0.01)
    turns[3].close()
    assert len(log.flushes) == 2
    stalled.set()
    await log.has_flushed(3)
    assert texts(*log.flushes[2][1]) == [(3, [b'{"text":"a"}']), (5, [b'{"text":"a"}'])], "a closed turn writes nothing"


async def test_a_defect_ends_the_turns_of_its_batch_alone(log: Log, batcher: AppendBatcher) -> None:
    broken, sound = writer(batcher, 1), writer(batcher, 2)
    log.defect = ValueError("a defect")
    broken.add(Delta("a"))
    assert await asyncio.wait_for(broken.lost, 5) is log.defect
    broken.close()
    log.defect = None
    sound.add(Delta("b"))
    await log.has_flushed(2)
    await eventually(lambda: not sound.has_unwritten, description="the turn is written")
