"""A connection that breaks means that Redis does not answer, however the libraries report it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from midsentence.errors import StoreUnavailableError
from midsentence.store.connector import Connector
from midsentence.store.node import Node
from midsentence.store.resp import Connect
from midsentence.store.scripts import Script, command
from tests.support.memory_socket import MemorySocket
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

ADDRESS = "127.0.0.1:6379"
UVLOOPS = "unable to perform operation on <TCPTransport closed=True reading=False 0x1>; the handler is closed"
PING = command("PING")


class Breaking:
    """A pool and a connection of redis-py that breaks during the login."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.disconnected = 0

    def make_connection(self) -> "Breaking":
        return self

    async def connect(self) -> None:
        raise self._error

    async def disconnect(self, *, nowait: bool) -> None:
        assert nowait
        self.disconnected += 1


@pytest.mark.parametrize(
    "error",
    [RuntimeError(UVLOOPS), RedisConnectionError("closed by server"), ConnectionResetError(), BrokenPipeError()],
    ids=["uvloop", "redis-py", "reset", "pipe"],
)
async def test_a_broken_connection_is_a_redis_that_does_not_answer(error: Exception) -> None:
    pool = Breaking(error)
    node = Node(Connector(cast("Any", pool)).connect, ADDRESS, 1)
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:6379 does not answer"):
        await node.execute([PING])
    assert pool.disconnected > 0
    await node.aclose()


async def test_a_defect_is_not_hidden_as_an_outage() -> None:
    node = Node(Connector(cast("Any", Breaking(RuntimeError("something else")))).connect, ADDRESS, 1)
    with pytest.raises(RuntimeError, match="something else"):
        await node.execute([PING])
    error = ResponseError("ERR unknown command")
    assert node.refusal(error) is error
    await node.aclose()


def connecting(sockets: list[MemorySocket], reply: Callable[[int, bytes], bytes]) -> Connect:
    """Connect to sockets whose replies are those of `reply`, which is given the number of the socket."""

    async def connect() -> MemorySocket:
        number = len(sockets)
        socket = MemorySocket(lambda data: reply(number, data))
        sockets.append(socket)
        return socket

    return connect


async def test_a_connection_that_answered_too_late_is_replaced() -> None:
    """Its packets may be dropped: every request would wait in vain behind the missing reply."""
    sockets: list[MemorySocket] = []
    node = Node(connecting(sockets, lambda number, _: b"+PONG\r\n" if number else b""), ADDRESS, 0.05)
    with pytest.raises(StoreUnavailableError, match="did not answer within"):
        await node.execute([PING])

    async def answers() -> bool:
        try:
            return await node.execute([PING]) == [b"PONG"]
        except StoreUnavailableError:
            return False

    await eventually(answers, description="another connection answers")
    assert len(sockets) == 2
    assert (sockets[0].closed, len(sockets[0].written)) == (True, 1), "not even a probe is sent over it"
    await node.aclose()


async def test_requests_are_refused_at_once_while_a_server_is_probed() -> None:
    """The first answer to a probe ends the refusals."""
    sockets: list[MemorySocket] = []
    is_up = False
    node = Node(connecting(sockets, lambda _, __: b"+PONG\r\n" if is_up else b""), ADDRESS, 0.1)
    with pytest.raises(StoreUnavailableError, match="did not answer within"):
        await node.execute([PING])
    begun = asyncio.get_running_loop().time()
    for _ in range(10):
        with pytest.raises(StoreUnavailableError, match="did not answer within"):
            await node.execute([PING])
    assert asyncio.get_running_loop().time() - begun < 0.1
    is_up = True
    await eventually(lambda: is_answered(node.execute([PING])), description="the server is used again")
    await node.aclose()


async def is_answered(execution: Awaitable[list[Any]]) -> bool:
    try:
        return await execution == [b"PONG"]
    except StoreUnavailableError:
        return False


async def test_a_wait_for_the_disk_does_not_delay_other_requests() -> None:
    """WAITAOF blocks its connection, so it has one of its own, which the next wait uses again."""
    sockets: list[MemorySocket] = []
    node = Node(connecting(sockets, lambda _, data: b"" if b"WAITAOF" in data else b"+PONG\r\n"), ADDRESS, 5)
    for _ in range(2):
        waits = [asyncio.create_task(node.fsync(f"mark {number}", 900)) for number in range(3)]
        await eventually(lambda: [socket.has_request for socket in sockets].count(True) >= 3, description="all wait")
        assert await node.execute([PING]) == [b"PONG"]
        for socket in sockets:
            if b"WAITAOF" in socket.written[-1]:
                socket.deliver(b"+OK\r\n*2\r\n:1\r\n:0\r\n")
                socket.written.append(b"")
        assert await asyncio.gather(*waits) == [[b"OK", [1, 0]]] * 3
    assert len(sockets) == 4
    await node.aclose()
    assert all(socket.closed for socket in sockets)


async def test_callers_share_an_attempt_to_connect() -> None:
    """Each in turn, a hundred callers of a dead server would wait for a hundred attempts."""
    attempts = 0

    async def connect() -> MemorySocket:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.01)
        raise RedisConnectionError("refused")

    node = Node(connect, ADDRESS, 5)
    outcomes = await asyncio.gather(*(node.execute([PING]) for _ in range(100)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
    assert attempts < 20
    await node.aclose()


async def test_no_connection_is_opened_after_the_node_is_closed() -> None:
    """A request that was waiting is not sent again over a connection that nobody would close."""
    sockets: list[MemorySocket] = []
    node = Node(connecting(sockets, lambda _, __: b""), ADDRESS, 5)
    waiting = asyncio.create_task(node.execute([PING]))
    await eventually(lambda: len(sockets) == 1 and sockets[0].has_request, description="it waits")
    await node.aclose()
    with pytest.raises(StoreUnavailableError, match="closed by this process"):
        await waiting
    assert len(sockets) == 1


async def test_a_wait_for_the_disk_leaves_a_server_that_is_no_longer_the_primary() -> None:
    """Sentinels are asked for the primary only at a new connection."""
    sockets: list[MemorySocket] = []
    replies = (b"-READONLY a replica\r\n-ERR a replica\r\n", b"+OK\r\n*2\r\n:1\r\n:0\r\n")
    node = Node(connecting(sockets, lambda number, _: replies[number]), ADDRESS, 1)
    assert isinstance((await node.fsync("mark", 900))[0], ReadOnlyError)
    assert await node.fsync("mark", 900) == [b"OK", [1, 0]]
    assert sockets[0].closed
    await node.aclose()


async def test_trouble_after_a_probe_is_probed_again() -> None:
    sockets: list[MemorySocket] = []
    is_up = False
    node = Node(connecting(sockets, lambda _, __: b"+PONG\r\n" if is_up else b""), ADDRESS, 0.05)
    for _ in range(2):
        is_up = False
        with pytest.raises(StoreUnavailableError, match="did not answer within"):
            await node.execute([PING])
        is_up = True
        await eventually(lambda: is_answered(node.execute([PING])), description="the server is used again")
    await node.aclose()


async def test_a_script_that_the_server_lacks_is_loaded_and_run_again() -> None:
    script = Script("renew")
    known = False

    def reply(_: int, data: bytes) -> bytes:
        nonlocal known
        if b"LOAD" in data:
            known = True
            return b"+%b\r\n:1\r\n" % script.digest.encode()
        return b":1\r\n" if known else b"-NOSCRIPT No matching script.\r\n"

    node = Node(connecting([], reply), ADDRESS, 1)
    assert await node.execute([script.request(["a key"], [])]) == [1]
    await node.aclose()
