"""The servers of the tests close every connection, also one that was accepted at the last moment."""

import asyncio
import gc
import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

import pytest

from tests.support.fake_redis import fake_redis
from tests.support.listener import stop_listening


class Running(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[str]: ...


@asynccontextmanager
async def stream_server() -> AsyncGenerator[str]:
    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await stop_listening(server)
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(tasks)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("running", [stream_server, fake_redis])
@pytest.mark.parametrize("iterations", range(6))
def test_connection_accepted_while_a_server_stops_is_closed(running: Running, iterations: int) -> None:
    """Accepting, making and reading a connection take an iteration of the event loop each: stop before every one."""

    async def connect_and_stop() -> socket.socket:
        async with running() as url:
            client = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port))
            for _ in range(iterations):
                await asyncio.sleep(0)
        return client

    with asyncio.run(connect_and_stop()):
        gc.collect()
