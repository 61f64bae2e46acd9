"""How the provider of `scripts/chaos` and `scripts/healing` spoils a stream."""

import asyncio
from typing import cast

import pytest

from tools.provider import spoilt_writer
from tools.provider.faults import ERRORS, Spoiling
from tools.provider.spoilt_writer import SpoiltWriter

pytestmark = pytest.mark.anyio

WRITES = [b"HTTP/1.1 200 OK\r\n\r\n", b"9\r\ndata: 1\n\n\r\n", b"9\r\ndata: 2\n\n\r\n", b"0\r\n\r\n"]
WHOLE = b"".join(WRITES)


class SocketStub:
    def setsockopt(self, *_: object) -> None: ...


class MemoryWriter:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    async def drain(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True

    async def wait_closed(self) -> None: ...

    def get_extra_info(self, _: str) -> SocketStub:
        return SocketStub()


async def spoilt(spoiling: Spoiling, position: float) -> tuple[MemoryWriter, int, list[str]]:
    """Write a stream. Returns what was sent, how many writes succeeded, and the faults that happened."""
    memory, faults, sent = MemoryWriter(), list[str](), 0

    async def spoil() -> None:
        faults.append(spoiling)

    writer = SpoiltWriter(cast("asyncio.StreamWriter", memory), spoiling, position, spoil)
    try:
        for data in WRITES:
            writer.write(data)
            await writer.drain()
            sent += 1
    except ConnectionAbortedError:
        pass
    return memory, sent, faults


@pytest.mark.parametrize("spoiling", ["cut", "reset"])
@pytest.mark.parametrize("position", [number / 7 for number in range(4 * 7)])
async def test_a_cut_stream_is_a_beginning_of_the_whole(spoiling: Spoiling, position: float) -> None:
    memory, sent, faults = await spoilt(spoiling, position)
    arrived = b"".join(memory.writes)
    assert WHOLE.startswith(arrived)
    assert (memory.is_closed, faults, arrived == WHOLE) == (True, [spoiling], False)
    # The events whose data arrived whole, and no others, count as sent.
    assert (b"data: 1" in arrived) + (b"data: 2" in arrived) == max(0, min(sent, 3) - 1)


async def test_a_stalled_stream_is_silent_and_stays_open() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await spoilt("stall", 1.5)


@pytest.mark.parametrize("spoiling", list(ERRORS))
async def test_an_error_stands_between_two_events_and_ends_the_body(spoiling: Spoiling) -> None:
    memory, _, faults = await spoilt(spoiling, 2.5)
    *_, last = memory.writes
    assert memory.writes[:-1] == WRITES[:2]
    assert last.endswith(b"\n\n\r\n0\r\n\r\n")
    assert ERRORS[spoiling] in last
    assert faults == [spoiling]
    # In front of its head a body has no place.
    memory, _, _ = await spoilt(spoiling, 0.5)
    assert memory.writes[0] == WRITES[0]


async def test_a_slow_stream_is_whole_and_comes_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoilt_writer, "_PAUSE_SECONDS", 0)
    memory, sent, faults = await spoilt("slow bytes", 1.5)
    assert b"".join(memory.writes) == WHOLE
    assert (sent, faults, memory.writes[0]) == (4, ["slow bytes"], WRITES[0])
    assert {len(data) for data in memory.writes[1:]} == {1}
