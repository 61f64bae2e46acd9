"""A log that stalls, or a worker that reads no more, makes the provider wait; it does not fill the worker's memory."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

from midsentence.events import Delta, Event
from midsentence.events import Message as UserMessage
from midsentence.fold import Fold
from midsentence.ids import EventId
from midsentence.jobs import Claim
from midsentence.lease import Lease
from midsentence.log import Write, Written
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.models.base import Finish, Message, Piece
from midsentence_worker.models.demo import DemoModel
from midsentence_worker.turn import Turn
from midsentence_worker.turn_writer import BACKLOG_CHARACTERS
from tests.support.model_client import QUESTION, model_at
from tests.support.turns import SESSION, turn_services
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

PIECE = "x" * 1000
PIECES = 4 * BACKLOG_CHARACTERS // len(PIECE)


class StallingLog:
    """A log that answers no write until `flows` is set."""

    def __init__(self) -> None:
        self.flows = asyncio.Event()
        self.written = 0
        self.has_ended = False

    async def read(self, _session_id: str) -> object:
        fold = Fold()
        fold.apply(Event(EventId(1, 1, 0), UserMessage.type, UserMessage("user", "Hello?", 1, 0).encoded()))
        return type("View", (), {"fold": fold})

    async def write(self, writes: Sequence[Write]) -> list[Written | Exception]:
        await self.flows.wait()
        for write in writes:
            self.written += sum(len(data) for kind, data in write.events if kind == Delta.type)
            self.has_ended = self.has_ended or write.folded is not None
        return [Written("ok", write.first + len(write.events) - 1) for write in writes]

    def servers(self, leases: Sequence[Lease]) -> Sequence[object]:
        return [None] * len(leases)

    async def fold(self, _lease: Lease, _seq: int, _folded: bytes) -> bool:
        return True

    async def release(self, _lease: Lease, *, counts: bool, attempts: int = 0) -> None:
        raise AssertionError((counts, attempts))


class CountingModel(DemoModel):
    """A model that writes as fast as it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        del messages, mark
        for _ in range(PIECES):
            self.read += len(PIECE)
            yield Delta(PIECE)
            await asyncio.sleep(0)
        yield Finish("stop", None)


async def test_model_waits_while_the_log_stalls_and_loses_nothing() -> None:
    log, model = StallingLog(), CountingModel()
    batcher = AppendBatcher(log, 0)  # pyright: ignore[reportArgumentType]
    sending = asyncio.create_task(batcher.run())
    turn = Turn(Claim(Lease(SESSION, 1, 1, "a worker"), 0, 1), turn_services([model], log, batcher))
    running = asyncio.create_task(turn.run())
    await eventually(lambda: turn.writer.is_full, description="the backlog is full")
    for _ in range(100):
        await asyncio.sleep(0)
    assert BACKLOG_CHARACTERS < model.read <= BACKLOG_CHARACTERS + len(PIECE)
    log.flows.set()
    async with asyncio.timeout(10):
        await running
    assert log.has_ended
    assert log.written >= model.read == PIECES * len(PIECE)
    sending.cancel()


@asynccontextmanager
async def endless_provider(sent: list[int]) -> AsyncGenerator[str]:
    """A provider that writes text as fast as its socket takes it. `sent` gets the bytes of each write."""
    event = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % PIECE.encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await writer.drain()
                sent.append(len(event))
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


async def test_provider_waits_while_nobody_reads_and_has_not_stalled() -> None:
    """The time in which the worker does not read is not the provider's silence."""
    sent: list[int] = []
    async with (
        endless_provider(sent) as address,
        model_at(address, timeout_seconds=0.3) as model,
        aclosing(model.stream(QUESTION)) as pieces,
    ):
        await anext(pieces)
        before = -1
        # Longer than the time-out, and until the provider's socket takes no more.
        while before != len(sent):
            before = len(sent)
            await asyncio.sleep(0.6)
        # What the sockets and aiohttp's buffer hold.
        assert sum(sent) < 32 * 2**20
        for _ in range(100):
            assert await anext(pieces) == Delta(PIECE)


async def test_stream_with_much_to_read_lets_the_event_loop_turn_after_each_read() -> None:
    """Otherwise flushes and renewals would wait while one provider's buffer is worked off."""
    sent: list[int] = []
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with (
        endless_provider(sent) as address,
        model_at(address) as model,
        aclosing(model.stream(QUESTION)) as pieces,
    ):
        await anext(pieces)
        await eventually(lambda: len(sent) > 2000, description="megabytes wait to be read")
        counting = asyncio.create_task(count_turns())
        for _ in range(200):
            await anext(pieces)
        counting.cancel()
    # Each piece is an event of 1 KB, and a read takes 4 KB.
    assert turns >= 200 / 4 - 1
