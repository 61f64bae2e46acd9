"""When providers' streams are read: the first pieces at once, later ones together at the worker's ticks."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import pytest

from midsentence.events import Delta
from midsentence_worker.models import stream_poller
from midsentence_worker.models.base import Piece
from midsentence_worker.models.byte_stream import ByteStream
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.stream_poller import StreamPoller
from midsentence_worker.ticks import Ticks
from tests.support.model_client import QUESTION, model_at
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

APIS = pytest.mark.parametrize("api", ["chat", "responses"])
TEXTS = [Delta("one"), Delta("two"), Delta("three"), Delta("four")]


@dataclass
class Stream:
    has_news: bool = False
    polled_until: float = float("inf")


@pytest.fixture
def few_are_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_poller, "FEW_STREAMS", 0)


@asynccontextmanager
async def long_ticks(upstream: Upstream, api: str) -> AsyncGenerator[tuple[Answer, AsyncGenerator[Piece, None]]]:
    """An answer of two tokens behind a gate, for a worker whose ticks are an hour apart."""
    answer = Answer(tokens=["one", "two"], gate=True)
    upstream.answers.append(answer)
    async with (
        model_at(upstream.url, api=api, flush_ms=3_600_000) as model,
        aclosing(model.stream(QUESTION)) as pieces,
        asyncio.timeout(30),
    ):
        yield answer, pieces


def poller(interval: float = 0.01) -> StreamPoller:
    return StreamPoller(Ticks(interval, 0), asyncio.get_running_loop())


@pytest.mark.parametrize("time", [0.0, 0.3, 12.25, 1e6])
@pytest.mark.parametrize("parts", [1, 5])
def test_tick_follows_within_one_interval(time: float, parts: int) -> None:
    ticks = Ticks(0.5, 0.1)
    tick = ticks.after(time, parts)
    assert time < tick <= time + 0.5 / parts
    steps = (tick - 0.1) / (0.5 / parts)
    assert abs(steps - round(steps)) < 1e-6


def test_ticks_of_one_interval_are_the_same_in_all_parts_of_a_worker() -> None:
    assert Ticks.every(0.025).after(7) == Ticks.every(0.025).after(7)


def test_interval_of_zero_has_no_ticks() -> None:
    assert Ticks.every(0).after(7) == 7


async def test_reader_is_woken_once_its_stream_has_news() -> None:
    polling, silent, speaking = poller(), Stream(), Stream(has_news=True)
    waiting = polling.wait(silent)
    await polling.wait(speaking)
    assert not waiting.done()
    silent.has_news = True
    await waiting


async def test_stream_that_stays_quiet_is_no_longer_polled() -> None:
    polling = poller()
    await polling.wait(Stream(polled_until=asyncio.get_running_loop().time() + 0.02))
    assert asyncio.get_running_loop().time() > 0.02


async def test_poller_without_readers_has_no_timer() -> None:
    polling = poller()
    waiting = polling.wait(Stream())
    waiting.cancel()
    await eventually(
        lambda: polling._timer is None,  # pyright: ignore[reportPrivateUsage]
        description="the timer is not set again",
    )


@APIS
@pytest.mark.usefixtures("few_are_polled")
async def test_first_pieces_do_not_wait_for_a_tick(upstream: Upstream, api: str) -> None:
    async with long_ticks(upstream, api) as (answer, pieces):
        answer.release()
        while (piece := await anext(pieces)) != Delta("one"):
            assert not isinstance(piece, Delta)


@APIS
async def test_few_streams_are_read_as_they_come(upstream: Upstream, api: str) -> None:
    async with long_ticks(upstream, api) as (answer, pieces):
        for text in (Delta("one"), Delta("two")):
            answer.release()
            while (piece := await anext(pieces)) != text:
                assert not isinstance(piece, Delta)


async def test_closed_streams_do_not_count(upstream: Upstream) -> None:
    async with model_at(upstream.url) as model:
        for _ in range(3):
            answer = Answer(gate=True)
            upstream.answers.append(answer)
            async with aclosing(model.stream(QUESTION)) as pieces:
                for _ in range(2):
                    answer.release()
                    await anext(pieces)
                polling = cast("Any", model)._client._poller
                assert polling.streams == 1
            assert polling.streams == 0


@APIS
@pytest.mark.usefixtures("few_are_polled")
async def test_tokens_between_two_ticks_are_read_together(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    reads: list[bytes] = []
    read = ByteStream.read

    async def recorded(stream: ByteStream) -> bytes:
        data = await read(stream)
        reads.append(data)
        return data

    monkeypatch.setattr(ByteStream, "read", recorded)
    answer = Answer(tokens=[piece.text for piece in TEXTS], gate=True)
    upstream.answers.append(answer)
    seconds = 1.0
    async with (
        model_at(upstream.url, api=api, flush_ms=seconds * 1000) as model,
        aclosing(model.stream(QUESTION)) as pieces,
    ):
        answer.release()
        while await anext(pieces) != TEXTS[0]:
            pass
        following = asyncio.create_task(anext(pieces))
        loop = asyncio.get_running_loop()
        tick = Ticks.every(seconds).after(loop.time())
        # The tokens are sent just after a tick, so that the next one does not fall between them.
        await asyncio.sleep(tick - loop.time() + seconds / 20)
        reads.clear()
        for _ in TEXTS[1:]:
            answer.release()
            # Time enough to read the token alone.
            await asyncio.sleep(seconds / 20)
        answer.release_all()
        texts = [await following] + [piece async for piece in pieces]
    assert [piece for piece in texts if isinstance(piece, Delta)] == TEXTS[1:]
    assert reads[0].count(b'"two"') == reads[0].count(b'"four"') == 1


@APIS
@pytest.mark.usefixtures("few_are_polled")
async def test_pieces_before_a_break_are_not_lost(upstream: Upstream, api: str) -> None:
    """They wait for the tick while the connection breaks."""
    answer = Answer(tokens=[piece.text for piece in TEXTS], gate=True, cut_after=4)
    upstream.answers.append(answer)
    texts: list[Delta] = []
    async with model_at(upstream.url, api=api, flush_ms=300) as model, aclosing(model.stream(QUESTION)) as pieces:
        answer.release()
        with suppress(ModelError):
            async for piece in pieces:
                texts += [piece] if isinstance(piece, Delta) else []
                if piece == TEXTS[0]:
                    # The response is away then, so that the text cannot be asked for again.
                    upstream.responses.clear()
                    answer.release_all()
    assert texts == TEXTS
