"""Two deployments with a namespace each on one Redis or one cluster share nothing."""

import re
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from tests.support.client import Visitor
from tests.support.processes import RedisChild, Stack
from tests.support.redis_deployments import RedisCluster, execute
from tests.support.upstream import Upstream, text_for

# One name begins with the other.
NAMESPACES = ("blue", "blue-2.x")
PASSWORD = "of-the-tests-alone"
# As docs/operations.md says it.
PERMISSIONS = "+@all -@admin -@dangerous +info +cluster|slots +cluster|info"
QUESTIONS = [f"tokens=5 rate=500 seed={number}" for number in range(6)]
_PUBLISH = re.compile(r"SPUBLISH (\S+)", re.IGNORECASE)


@pytest.fixture(scope="module", params=["valkey", "cluster"])
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[list[RedisChild]]:
    """The servers of one Redis or one cluster. Each namespace has a user there who may use that namespace alone."""
    directory = tmp_path_factory.mktemp("redis")
    deployment = RedisChild(directory) if request.param == "valkey" else RedisCluster(directory)
    try:
        deployment.start()
        servers: list[RedisChild] = [deployment] if isinstance(deployment, RedisChild) else [*deployment.masters]
        for server in servers:
            for name in NAMESPACES:
                patterns = (f"~{name}:*", f"&{name}:*", *PERMISSIONS.split())
                execute(server, "ACL", "SETUSER", name, "on", f">{PASSWORD}", *patterns)
        yield servers
    finally:
        deployment.stop()


@pytest.fixture(scope="module")
def upstreams() -> Generator[list[Upstream]]:
    with Upstream() as one, Upstream() as other:
        yield [one, other]


@pytest.fixture(scope="module")
def stacks(
    redis: Sequence[RedisChild], upstreams: Sequence[Upstream], tmp_path_factory: pytest.TempPathFactory
) -> Generator[list[Stack]]:
    scheme = "redis" if len(redis) == 1 else "redis+cluster"
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in redis)
    stacks = [
        Stack(
            tmp_path_factory.mktemp(name),
            upstream,
            settings={"MIDSENTENCE_NAMESPACE": name, "MIDSENTENCE_PARTITIONS": "8", "MIDSENTENCE_DURABLE": "1"},
            redis_url=f"{scheme}://{name}:{PASSWORD}@{hosts}",
        )
        for name, upstream in zip(NAMESPACES, upstreams, strict=True)
    ]
    try:
        for stack in stacks:
            stack.start()
        yield stacks
    finally:
        for stack in stacks:
            stack.stop()


@pytest.fixture
def visitors(stacks: Sequence[Stack], upstreams: Sequence[Upstream]) -> Generator[list[Visitor]]:
    for upstream in upstreams:
        upstream.reset()
    with Visitor(stacks[0].base_url) as one, Visitor(stacks[1].base_url) as other:
        yield [one, other]


@contextmanager
def monitored(servers: Sequence[RedisChild]) -> Generator[list[str]]:
    """Every command that these servers execute meanwhile, also those of scripts."""
    commands: list[str] = []
    clients = [Redis(port=server.port) for server in servers]

    def listen(client: Redis, is_ready: threading.Event, marker: str) -> None:
        with client.monitor() as monitor:
            is_ready.set()
            while (command := _command(monitor)) != marker:
                commands.append(command)

    marker = "ECHO the end of this test"
    threads: list[threading.Thread] = []
    for client in clients:
        is_ready = threading.Event()
        threads.append(threading.Thread(target=listen, args=(client, is_ready, marker), daemon=True))
        threads[-1].start()
        assert is_ready.wait(10)
    try:
        yield commands
    finally:
        for server in servers:
            execute(server, "ECHO", marker.removeprefix("ECHO "))
        for thread in threads:
            thread.join(10)
        for client in clients:
            client.close()


def _command(monitor: Any) -> str:
    return monitor.next_command()["command"]


def asked(upstream: Upstream) -> list[str]:
    return [request.question for request in upstream.requests]


def test_each_worker_runs_the_turns_of_its_namespace_alone(
    visitors: Sequence[Visitor], stacks: Sequence[Stack], upstreams: Sequence[Upstream]
) -> None:
    """The other worker has nothing to do meanwhile, so it would claim a turn that it can see."""
    one, _ = visitors
    stacks[0].workers[0].pause()
    try:
        sessions = [one.start(question) for question in QUESTIONS]
        # The other worker sweeps all partitions and answers questions of its own before the first worker goes on.
        for question in QUESTIONS:
            assert visitors[1].read(visitors[1].start(f"{question} here")).end() == "stop"
        assert [one.http.get(f"/sessions/{session_id}").json()["state"] for session_id in sessions] == [
            "queued" for _ in sessions
        ]
    finally:
        stacks[0].workers[0].resume()
    for session_id, question in zip(sessions, QUESTIONS, strict=True):
        assert one.read(session_id).answer() == "".join(text_for(question))
    assert sorted(asked(upstreams[0])) == QUESTIONS
    assert sorted(asked(upstreams[1])) == [f"{question} here" for question in QUESTIONS]


def test_a_session_is_unknown_to_the_other_deployment(visitors: Sequence[Visitor]) -> None:
    one, other = visitors
    session_id = one.start(QUESTIONS[0])
    one.read(session_id)
    other.start(QUESTIONS[1])
    for cookies in (dict(one.http.cookies), dict(other.http.cookies)):
        other.http.cookies = cookies
        url = f"/sessions/{session_id}"
        requests = (
            other.http.get(url),
            other.http.get(f"{url}/events"),
            other.http.post(f"{url}/messages", json={"text": "mine?"}),
            other.http.post(f"{url}/stop"),
            other.http.post(f"{url}/share"),
            other.http.patch(url, json={"title": "mine"}),
            other.http.delete(url),
        )
        assert [response.status_code for response in requests] == [404] * len(requests)
        listed = other.http.get("/sessions").json()["sessions"]
        assert session_id not in {session["session_id"] for session in listed}
    assert one.http.get(f"/sessions/{session_id}").json()["state"] == "idle"


def test_a_cookie_is_worth_nothing_to_the_other_deployment(visitors: Sequence[Visitor]) -> None:
    one, other = visitors
    one.start(QUESTIONS[0])
    cookie = one.http.cookies["midsentence"]
    response = other.http.post("/sessions", json={"text": QUESTIONS[1]}, headers={"Cookie": f"midsentence={cookie}"})
    assert response.status_code == 202
    assert response.cookies["midsentence"].partition(".")[0] != cookie.partition(".")[0]


def test_an_idempotency_key_is_unknown_to_the_other_deployment(
    visitors: Sequence[Visitor], upstreams: Sequence[Upstream]
) -> None:
    one, other = visitors
    key = {"Idempotency-Key": "one-key-for-both"}
    question = "tokens=5 rate=500 seed=99"
    sessions = [visitor.start(question, **key) for visitor in (one, other, one, other)]
    assert sessions[:2] == sessions[2:]
    assert sessions[0] != sessions[1]
    for visitor, session_id in zip(visitors, sessions, strict=False):
        assert visitor.read(session_id).end() == "stop"
    assert [asked(upstream).count(question) for upstream in upstreams] == [1, 1]


def test_every_key_and_channel_begins_with_a_namespace(
    visitors: Sequence[Visitor], redis: Sequence[RedisChild]
) -> None:
    """`durable` and a secret in Redis are on, so that the keys which only they write are there too."""
    with monitored(redis) as commands:
        for visitor in visitors:
            session_id = visitor.start(QUESTIONS[0])
            visitor.send(session_id, QUESTIONS[1])
            visitor.http.post(f"/sessions/{session_id}/stop")
            visitor.read(session_id)
    channels = {found[1] for command in commands if (found := _PUBLISH.search(command))}
    keys = {key.decode() for server in redis for key in execute(server, "KEYS", "*")}
    for names in (channels, keys):
        for namespace in NAMESPACES:
            assert any(name.startswith(f"{namespace}:") for name in names)
        assert not [name for name in names if not name.startswith(tuple(f"{each}:" for each in NAMESPACES))]
    subscribed = {name.decode() for server in redis for name in execute(server, "PUBSUB", "SHARDCHANNELS")}
    assert len(subscribed) >= 8 * len(NAMESPACES), "the wake channels of the workers"
    assert not [name for name in subscribed if not name.startswith(tuple(f"{each}:" for each in NAMESPACES))]
    # Commands may be tried that the user has no right to; a key or a channel is never another's.
    refused = [entry for server in redis for entry in execute(server, "ACL", "LOG")]
    assert not [entry for entry in refused if entry[b"reason"] in {b"key", b"channel"}]
