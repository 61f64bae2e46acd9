"""A connection that breaks, in every way in which the libraries say so, is a Redis that does not answer."""

import asyncio
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from midsentence.errors import StoreUnavailableError
from midsentence.store.node import Node, Packed
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

UVLOOPS = "unable to perform operation on <TCPTransport closed=True reading=False 0x1>; the handler is closed"


class Breaking:
    """A client whose pipelines fail, as a connection does that was closed under them."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def pipeline(self, *, transaction: bool) -> "Breaking":
        assert not transaction
        return self

    def execute_command(self, *command: Any) -> None: ...

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        raise self._error

    def get_retry(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    "error",
    [RuntimeError(UVLOOPS), RedisConnectionError("closed by server"), ConnectionResetError(), BrokenPipeError()],
    ids=["uvloop", "redis-py", "reset", "pipe"],
)
async def test_a_connection_that_breaks_is_a_redis_that_does_not_answer(error: Exception) -> None:
    node = Node(Breaking(error), "127.0.0.1:6379", 1)
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:6379 does not answer"):
        await node.execute([("PING",)])
    await node.aclose()


class Socket(asyncio.Transport):
    """One that answers a script with 1, or never."""

    def __init__(self, *, answers: bool) -> None:
        super().__init__()
        self._answers = answers
        self._closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def is_closing(self) -> bool:
        return self._closed

    def write(self, data: Any) -> None:
        assert data == b"?"
        if self._answers:
            self._protocol.data_received(b":1\r\n")

    def abort(self) -> None:
        self._closed = True


class Recovering:
    """A client whose first connection is a half-open one."""

    def __init__(self) -> None:
        self.made = 0
        self.connection_pool = self._parser = self

    def pipeline(self, *, transaction: bool) -> "Recovering":
        assert not transaction
        return self

    def execute_command(self, *command: Any) -> None: ...

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        return [b"PONG"]

    def make_connection(self) -> "Recovering":
        self.made += 1
        protocol: Any = None
        socket = Socket(answers=self.made > 1)
        self._writer = asyncio.StreamWriter(socket, protocol, None, asyncio.get_running_loop())
        return self

    def parse_error(self, reply: str) -> Exception:
        return ResponseError(reply)

    async def connect(self) -> None: ...

    async def disconnect(self, *, nowait: bool) -> None:
        assert nowait

    def get_retry(self) -> None: ...

    async def aclose(self) -> None: ...


async def test_a_connection_that_answered_too_late_is_not_asked_again() -> None:
    """Its packets may be dropped: every script would wait on it in vain. Seen red without `_drop` at the time-out."""
    client = Recovering()
    node = Node(client, "127.0.0.1:6379", 0.05)
    request = Packed("a key", "a digest", b"?")
    with pytest.raises(StoreUnavailableError, match="did not answer within"):
        await node.execute([request])

    async def answers() -> bool:
        try:
            return await node.execute([request]) == [1]
        except StoreUnavailableError:
            return False

    await eventually(answers, description="another connection answers")
    assert client.made == 2
    await node.aclose()


async def test_a_defect_is_not_hidden_as_an_outage() -> None:
    node = Node(Breaking(RuntimeError("something else")), "127.0.0.1:6379", 1)
    with pytest.raises(RuntimeError, match="something else"):
        await node.execute([("PING",)])
    error = ResponseError("ERR unknown command")
    assert node.refusal(error) is error
    await node.aclose()
