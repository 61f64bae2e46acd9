"""A connection that breaks, in every way in which the libraries say so, is a Redis that does not answer."""

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from midsentence.errors import StoreUnavailableError
from midsentence.node import Node

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


async def test_a_defect_is_not_hidden_as_an_outage() -> None:
    node = Node(Breaking(RuntimeError("something else")), "127.0.0.1:6379", 1)
    with pytest.raises(RuntimeError, match="something else"):
        await node.execute([("PING",)])
    error = ResponseError("ERR unknown command")
    assert node.refusal(error) is error
    await node.aclose()
