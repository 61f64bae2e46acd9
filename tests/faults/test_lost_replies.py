"""Rule 4.8: a message that was written in the instant of a failure is found again by its key."""

import secrets
import shutil
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.conftest import running
from tests.support.client import Visitor
from tests.support.processes import ServerChild, Stack
from tests.support.redis_proxy import Failure, RedisProxy
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

SETTINGS = {"MIDSENTENCE_DURABLE": "1", "MIDSENTENCE_DRAIN_SECONDS": "1"}
SHORT_TIMEOUT = {"MIDSENTENCE_REDIS_TIMEOUT_SECONDS": "1"}
# Longer than a test: the request still waits when the test ends the server.
LONG_TIMEOUT = {"MIDSENTENCE_REDIS_TIMEOUT_SECONDS": "60"}


class Instant(NamedTuple):
    """The request at which Redis fails; empty for the message itself. `status` is that of the POST."""

    request: bytes
    failure: Failure
    status: int


INSTANTS = {
    "Redis dies at the message": Instant(b"", "cut", 503),
    "Redis hangs at the message": Instant(b"", "freeze", 503),
    "Redis dies at the disk": Instant(b"WAITAOF", "cut", 503),
    "Redis hangs at the disk": Instant(b"WAITAOF", "freeze", 503),
    "Redis replies nonsense": Instant(b"", "error", 500),
    "Redis dies at the list": Instant(b"ZADD", "lose", 202),
}


class Deployment(NamedTuple):
    """The server reaches Redis through the proxy. The worker does not, so that it takes the message meanwhile."""

    stack: Stack
    server: ServerChild
    proxy: RedisProxy
    upstream: Upstream

    def ask(self, visitor: Visitor, key: str, text: str, session_id: str | None = None) -> httpx.Response:
        url = "/sessions" if session_id is None else f"/sessions/{session_id}/messages"
        return visitor.http.post(url, json={"text": text}, headers={"Idempotency-Key": key})

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            return httpx.get(f"{self.server.base_url}/readyz").status_code == 200

        wait_until(is_ready, description="the server reaches Redis again")

    def asked(self, text: str) -> int:
        """How often the model was asked this question."""
        return [request.question for request in self.upstream.requests].count(text)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Generator[Deployment]:
    with Upstream() as upstream:
        yield from deployed(tmp_path_factory.mktemp("deployment"), upstream, SHORT_TIMEOUT)


@pytest.fixture
def shared(lasting: Deployment) -> Generator[Deployment]:
    """One for all tests that end no process."""
    yield lasting
    lasting.proxy.heal()
    lasting.wait_until_ready()


@pytest.fixture
def deployment(tmp_path: Path, upstream: Upstream) -> Generator[Deployment]:
    """One whose processes the test may end."""
    yield from deployed(tmp_path, upstream, LONG_TIMEOUT)


def deployed(directory: Path, upstream: Upstream, settings: dict[str, str]) -> Generator[Deployment]:
    stack = Stack(directory, upstream, servers=0, settings=SETTINGS | settings)
    with RedisProxy(stack.redis.port) as proxy:
        server = ServerChild(directory, {**stack.environment, "MIDSENTENCE_REDIS_URL": proxy.url})
        stack.servers.append(server)
        for _ in running(stack):
            with Visitor(server.base_url) as first:
                # The server knows the secret and Redis the scripts, so that the first request of a test is the message.
                first.read(first.start("tokens=1"))
            yield Deployment(stack, server, proxy, upstream)


def question() -> str:
    return f"tokens=5 rate=500 seed={secrets.randbelow(10**9)}"


def found_again(deployment: Deployment, visitor: Visitor, key: str, text: str, session_id: str | None = None) -> str:
    """Repeat the POST twice. Returns the one session that both repeats find."""
    first, second = (deployment.ask(visitor, key, text, session_id) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202), first.text
    assert first.json() == second.json()
    return first.json()["session_id"]


def ask_in_vain(
    deployment: Deployment, visitor: Visitor, text: str, end: Callable[[], object]
) -> httpx.Response | None:
    """Ask with the key `k`, and end the server when Redis has the message. Returns the reply, if one comes."""
    deployment.proxy.fail_at(text.encode(), "freeze")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(deployment.ask, visitor, "k", text)
        assert deployment.proxy.has_failed.wait(20)
        end()
        try:
            return asking.result()
        except httpx.TransportError:
            return None


def sessions_of(visitor: Visitor) -> list[str]:
    return [session["session_id"] for session in visitor.http.get("/sessions").json()["sessions"]]


@pytest.mark.parametrize("instant", INSTANTS.values(), ids=INSTANTS.keys())
def test_a_first_message_is_found_again_by_its_key(shared: Deployment, instant: Instant) -> None:
    """3.2, 4.8: the visitor has no cookie before, and the reply has it, whatever its status."""
    text = question()
    with Visitor(shared.server.base_url) as visitor:
        shared.proxy.fail_at(instant.request or text.encode(), instant.failure)
        reply = shared.ask(visitor, "k", text)
        assert reply.status_code == instant.status, reply.text
        assert "midsentence" in reply.cookies
        assert shared.proxy.has_failed.is_set()
        wait_until(lambda: shared.asked(text) == 1, description="the worker took the message")
        shared.proxy.heal()
        shared.wait_until_ready()
        session_id = found_again(shared, visitor, "k", text)
        assert visitor.read(session_id).end() == "stop"
        assert sessions_of(visitor) == [session_id]
        assert shared.asked(text) == 1


@pytest.mark.parametrize("instant", INSTANTS.values(), ids=INSTANTS.keys())
def test_a_later_message_is_found_again_by_its_key(shared: Deployment, instant: Instant) -> None:
    """4.8: the same turn, which the model is asked once."""
    text = question()
    with Visitor(shared.server.base_url) as visitor:
        session_id = visitor.start("tokens=1")
        visitor.read(session_id)
        shared.proxy.fail_at(instant.request or text.encode(), instant.failure)
        reply = shared.ask(visitor, "k", text, session_id)
        assert reply.status_code == instant.status, reply.text
        wait_until(lambda: shared.asked(text) == 1, description="the worker took the message")
        shared.proxy.heal()
        shared.wait_until_ready()
        assert found_again(shared, visitor, "k", text, session_id) == session_id
        assert visitor.read(session_id).end() == "stop"
        messages = visitor.http.get(f"/sessions/{session_id}").json()["messages"]
        assert [entry["text"] for entry in messages if entry["role"] == "user"] == ["tokens=1", text]
        assert shared.asked(text) == 1


def test_an_accepted_session_is_listed_when_redis_can_be_written_again(shared: Deployment) -> None:
    """Redis failed between the message and the list, and after a 202 nobody repeats the POST."""
    text = question()
    with Visitor(shared.server.base_url) as visitor:
        shared.proxy.fail_at(b"ZADD", "lose")
        reply = shared.ask(visitor, "k", text)
        assert reply.status_code == 202
        shared.proxy.heal()
        shared.wait_until_ready()
        wait_until(lambda: sessions_of(visitor) == [reply.json()["session_id"]], description="the session is listed")


def test_a_message_whose_server_was_killed_is_found_again_by_its_key(deployment: Deployment) -> None:
    """4.8: no reply came at all; the visitor had a cookie from `GET /`."""
    text = question()
    with Visitor(deployment.server.base_url) as visitor:
        visitor.http.get("/")
        assert ask_in_vain(deployment, visitor, text, deployment.server.kill) is None
        deployment.server.start()
        session_id = found_again(deployment, visitor, "k", text)
        assert visitor.read(session_id).end() == "stop"
        assert sessions_of(visitor) == [session_id]
        assert deployment.asked(text) == 1


def test_a_message_whose_server_was_stopped_is_found_again_by_its_key(deployment: Deployment) -> None:
    """3.2, 4.8: the 503 `draining` has the cookie."""
    text = question()
    with Visitor(deployment.server.base_url) as visitor:
        reply = ask_in_vain(deployment, visitor, text, deployment.server.stop)
        assert reply is not None
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "draining")
        deployment.server.start()
        session_id = found_again(deployment, visitor, "k", text)
        assert visitor.read(session_id).end() == "stop"
        assert sessions_of(visitor) == [session_id]
        assert deployment.asked(text) == 1


def test_a_message_that_redis_lost_is_started_anew_once(deployment: Deployment, tmp_path: Path) -> None:
    """4.8: Redis restarts with the append-only file of before the message."""
    text, redis = question(), deployment.stack.redis
    with Visitor(deployment.server.base_url) as visitor:
        earlier = visitor.start("tokens=1")
        visitor.read(earlier)
        redis.stop()
        shutil.copytree(redis.directory, tmp_path / "before")
        redis.start()
        deployment.wait_until_ready()
        lost = deployment.ask(visitor, "k", text).json()["session_id"]
        visitor.read(lost)
        redis.kill()
        shutil.rmtree(redis.directory)
        shutil.copytree(tmp_path / "before", redis.directory)
        redis.start()
        deployment.wait_until_ready()
        assert visitor.http.get(f"/sessions/{lost}").status_code == 404
        session_id = found_again(deployment, visitor, "k", text)
        assert visitor.read(session_id).end() == "stop"
        assert sessions_of(visitor) == [session_id, earlier]
        assert deployment.asked(text) == 2
