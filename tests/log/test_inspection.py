"""The look at Redis before it is used says in one sentence what is missing, and passes where nothing is."""

import asyncio
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hiredis
import pytest
from structlog.testing import capture_logs

from midsentence.breakers import Breakers
from midsentence.errors import StoreUnavailableError, StoreUnusableError
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store import inspection as module
from midsentence.store.inspection import Inspection
from midsentence.store.node import Node
from midsentence.store.scripts import SCRIPTS
from midsentence.store.store import Store
from midsentence.store.topology import Single
from tests.log.conftest import with_sentinel
from tests.log.test_rights import KINDS, commands_of, pairs_of
from tests.support.memory_socket import MemorySocket
from tests.support.processes import RedisChild, free_port
from tests.support.redis_deployments import RedisCluster, Sentinels, execute
from tests.support.requirements import program
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = ("~*", "&*", "+@all")
# Its scripts are among them.
assert Breakers
USED = [script for name, script in SCRIPTS.items() if name != "probe"]
# Scripts do without INFO.
COMMANDS = sorted({name for script in USED for name in commands_of(script)} - {"INFO"})
PAIRS = sorted({pair for script in USED for pair in pairs_of(script)})
# What processes send themselves.
PLAIN = ["EVALSHA", "SCRIPT|LOAD", "SSUBSCRIBE", "SUNSUBSCRIBE", "PING", "ZREVRANGE", "GET"]


async def look(url: str, **settings: object) -> str:
    """Look once. Returns the sentence, or nothing."""
    store = Store(Settings.model_validate({"redis_url": url, "partitions": 4, **settings}))
    sentence = ""
    try:
        await Inspection(store).look()
    except StoreUnusableError as error:
        sentence = str(error)
    finally:
        await store.aclose()
    assert re.fullmatch(r"([A-Z].*\.)?", sentence), "no sentence"
    return sentence


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisChild]:
    child = RedisChild(tmp_path_factory.mktemp("looked-at"))
    child.start()
    yield child
    child.stop()


def user(redis: RedisChild, *rules: str) -> str:
    """The URL for a user with these rights."""
    execute(redis, "ACL", "SETUSER", "app", "reset", "on", ">pw", *rules)
    return redis.url.replace("redis://", "redis://app:pw@")


@with_sentinel
async def test_a_redis_that_lacks_nothing_passes_and_gets_no_key(store: Store, redis_url: str) -> None:
    assert await look(redis_url) == ""
    assert await SessionLog(store).heads(["00" + "x" * 22]) == [None]


async def test_a_look_leaves_no_key(redis: RedisChild) -> None:
    assert await look(redis.url) == ""
    assert execute(redis, "KEYS", "*") == []


@pytest.mark.parametrize("name", [*COMMANDS, *PLAIN])
async def test_a_command_that_the_user_may_not_run_is_named(redis: RedisChild, name: str) -> None:
    sentence = await look(user(redis, *EVERYTHING, f"-{name}"))
    assert re.search(rf"run `ACL SETUSER app [^`]*\+{re.escape(name.lower())}[ `]", sentence), sentence
    assert await look(user(redis, *EVERYTHING, f"-{name}", f"+{name}")) == ""


@pytest.mark.parametrize(("name", "kind"), PAIRS)
async def test_a_command_that_the_user_may_not_run_on_one_kind_of_key_is_named(
    redis: RedisChild, name: str, kind: str
) -> None:
    others = " ".join(f"~{pattern}" for other, pattern in KINDS.items() if other != kind)
    sentence = await look(user(redis, *EVERYTHING, f"-{name}", f"(+{name} {others})"))
    assert f"+{name.lower()}" in sentence


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kind_of_key_that_the_user_may_not_use_is_named(redis: RedisChild, kind: str) -> None:
    others = [f"~{pattern}" for other, pattern in KINDS.items() if other != kind]
    assert "~ms:*" in await look(user(redis, "&*", "+@all", *others))


@pytest.mark.parametrize("channels", [(), ("&ms:*:wake",), ("&ms:*:live",)], ids=["none", "wake", "live"])
async def test_a_channel_that_the_user_may_not_use_is_named(redis: RedisChild, channels: tuple[str, ...]) -> None:
    """A user that Redis 7 makes has no channels by default."""
    assert "run `ACL SETUSER app &ms:*`" in await look(user(redis, "~*", "+@all", *channels))


async def test_the_rights_that_a_sentence_names_are_enough(redis: RedisChild) -> None:
    """Each look names what it can find; following the sentences ends with a user that can be used."""
    url = user(redis, "-@all")
    rules: list[str] = []
    for _ in range(5):
        sentence = await look(url)
        if not sentence:
            break
        rules += sentence.partition("ACL SETUSER app ")[2].partition("`")[0].split()
        execute(redis, "ACL", "SETUSER", "app", *rules)
    assert await look(url) == ""
    assert len(rules) == len(set(rules))


@pytest.mark.parametrize("server", ["valkey", pytest.param("redis", marks=pytest.mark.needs_redis_server), "cluster"])
async def test_the_rights_that_the_documentation_lists_are_enough(server: str, tmp_path: Path) -> None:
    line = re.search(r"^ACL SETUSER (.*)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert line is not None
    made = {
        "valkey": lambda: RedisChild(tmp_path),
        "redis": lambda: RedisChild(tmp_path, program("redis-server")),
        "cluster": lambda: RedisCluster(tmp_path),
    }[server]()
    made.start()
    try:
        for child in made.masters if isinstance(made, RedisCluster) else [made]:
            execute(child, "ACL", "SETUSER", *line[1].split())
        url = made.url.replace("://", "://midsentence:password@", 1)
        # WAITAOF is of 7.2.
        assert await look(url, durable=server != "redis") == ""
    finally:
        made.stop()


@pytest.mark.parametrize("server", ["valkey", pytest.param("redis", marks=pytest.mark.needs_redis_server)])
async def test_a_redis_without_sharded_channels_is_too_old(server: str, tmp_path: Path) -> None:
    """As Redis 6: the commands do not exist."""
    gone = ("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE")
    options = [word for name in gone for word in ("--rename-command", name, "")]
    child = RedisChild(tmp_path, program("redis-server") if server == "redis" else None, *options)
    child.start()
    try:
        sentence = await look(child.url)
    finally:
        child.stop()
    assert sentence == (
        "Redis does not know SPUBLISH, SSUBSCRIBE, SUNSUBSCRIBE: use Redis or Valkey 7 or newer, with all its commands."
    )


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        ("redis_version:6.2.14", "Redis 6.2.14 is too old: use Redis or Valkey 7 or newer."),
        ("redis_version:7.2.4\r\nvalkey_version:9.1.0", ""),
        ("redis_version:10.0.0", ""),
        ("redis_version:255.255.255", ""),
        ("redis_version:unknown", ""),
    ],
)
async def test_a_version_before_7_is_too_old(info: str, sentence: str) -> None:
    def reply(requests: bytes) -> bytes:
        replies = {
            b"INFO": f"${len(info)}\r\n{info}\r\n".encode(),
            b"EVALSHA": b"*0\r\n",
            b"SSUBSCRIBE": b"*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n",
        }
        reader: Any = hiredis.Reader()
        reader.feed(requests)
        answers: list[bytes] = []
        while words := reader.gets():
            answers.append(replies.get(words[0], b":1\r\n"))
        return b"".join(answers)

    async def connect() -> MemorySocket:
        return MemorySocket(reply)

    store = Store(Settings.model_validate({"redis_url": "redis://127.0.0.1:1", "partitions": 4}))
    store.topology = Single(Node(connect, "memory", 1))
    said = ""
    try:
        await Inspection(store).look()
    except StoreUnusableError as error:
        said = str(error)
    finally:
        await store.aclose()
    assert said == sentence


async def test_a_user_without_info_is_looked_at_by_trying(redis: RedisChild) -> None:
    assert await look(user(redis, *EVERYTHING, "-info")) == ""
    assert "+xadd" in await look(user(redis, *EVERYTHING, "-info", "-xadd"))


@pytest.mark.parametrize("login", ["app:wrong", "nobody:pw", ":wrong"])
async def test_a_wrong_password_is_said_without_it(redis: RedisChild, login: str) -> None:
    user(redis, *EVERYTHING)
    sentence = await look(redis.url.replace("redis://", f"redis://{login}@"))
    assert "MIDSENTENCE_REDIS_URL" in sentence
    assert "wrong" not in sentence.replace("wrong number", "")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_redis_that_evicts_is_refused_unless_that_is_accepted(tmp_path: Path, policy: str) -> None:
    """All keys have a time to live, so a policy for volatile keys removes conversations too."""
    child = RedisChild(tmp_path, None, "--maxmemory", "100mb", "--maxmemory-policy", policy)
    child.start()
    try:
        assert "set maxmemory-policy noeviction" in await look(child.url)
        assert await look(child.url, allow_eviction=True) == ""
        execute(child, "CONFIG", "SET", "maxmemory", "0")
        assert await look(child.url) == ""
    finally:
        child.stop()


@pytest.mark.parametrize("appendonly", ["yes", "no"])
async def test_durable_needs_an_append_only_file(tmp_path: Path, appendonly: str) -> None:
    child = RedisChild(tmp_path, None, "--appendonly", appendonly)
    child.start()
    try:
        sentence = await look(child.url, durable=True)
        assert ("appendonly yes" in sentence) is (appendonly == "no")
        assert await look(child.url) == ""
    finally:
        child.stop()


async def test_durable_needs_waitaof(tmp_path: Path) -> None:
    child = RedisChild(tmp_path, None, "--rename-command", "WAITAOF", "")
    child.start()
    try:
        assert "7.2" in await look(child.url, durable=True)
    finally:
        child.stop()


async def test_a_replica_is_refused_at_the_first_look_alone(tmp_path: Path) -> None:
    """Later it is a failover that is not over: its writes are refused as such."""
    child = RedisChild(tmp_path)
    child.start()
    store = Store(Settings.model_validate({"redis_url": child.url, "partitions": 4}))
    try:
        inspection = Inspection(store)
        await inspection.look()
        execute(child, "REPLICAOF", "127.0.0.1", free_port())
        assert "is a replica" in await look(child.url)
        with pytest.raises(StoreUnavailableError) as refused:
            await inspection.look()
        assert not isinstance(refused.value, StoreUnusableError)
        await inspection.require()
    finally:
        await store.aclose()
        child.stop()


async def test_each_master_of_a_cluster_is_looked_at(tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path)
    cluster.start()
    try:
        assert await look(cluster.url, partitions=64) == ""
        for master in cluster.masters:
            execute(master, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
            assert "noeviction" in await look(cluster.url, partitions=64)
            execute(master, "CONFIG", "SET", "maxmemory", "0")
    finally:
        cluster.stop()


async def test_a_cluster_whose_slots_the_user_may_not_ask_for_is_named(tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path)
    cluster.start()
    try:
        for master in cluster.masters:
            execute(master, "ACL", "SETUSER", "app", "on", ">pw", *EVERYTHING, "-cluster")
        assert "'cluster" in await look(cluster.url.replace("://", "://app:pw@"))
        assert "user or the password" in await look(cluster.url.replace("://", "://app:wrong@"))
    finally:
        cluster.stop()


@pytest.fixture
async def deployment(redis: RedisChild) -> AsyncGenerator[tuple[Inspection, SessionLog]]:
    store = Store(Settings.model_validate({"redis_url": user(redis, *EVERYTHING), "partitions": 4}))
    inspection = Inspection(store)
    yield inspection, SessionLog(store)
    await inspection.aclose()
    await store.aclose()


async def is_usable(inspection: Inspection) -> bool:
    try:
        await inspection.require()
    except StoreUnusableError:
        return False
    return True


async def test_a_right_that_is_lost_later_is_found_and_its_return_too(
    redis: RedisChild, deployment: tuple[Inspection, SessionLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to start anything again. What is missing is logged once."""
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(module, "_BACK_OFF_SECONDS", (0.02,))
    inspection, log = deployment
    with capture_logs() as logs:
        running = asyncio.create_task(inspection.run())
        await eventually(lambda: is_usable(inspection), description="the first look passed")
        user(redis, *EVERYTHING, "-xadd")
        with pytest.raises(StoreUnusableError, match="xadd"):
            await log.start("ann", "hello")

        async def is_refused() -> bool:
            return not await is_usable(inspection)

        await eventually(is_refused, description="the missing right was found")
        user(redis, *EVERYTHING)
        await eventually(lambda: is_usable(inspection), description="the right is there again")
        assert (await log.start("ann", "hello")).turn == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [line["event"] for line in logs] == ["store_unusable", "store_usable"]


async def test_a_primary_that_is_promoted_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.02)
    sentinels = Sentinels(tmp_path)
    sentinels.start()
    replica = sentinels.replicated.replica
    execute(replica, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    store = Store(Settings.model_validate({"redis_url": sentinels.url, "partitions": 4, "redis_timeout_seconds": 1}))
    inspection = Inspection(store)
    running = asyncio.create_task(inspection.run())
    try:
        await eventually(lambda: is_usable(inspection), description="the first look passed")
        sentinels.replicated.primary.kill()

        async def is_refused() -> bool:
            with suppress(StoreUnavailableError):
                await store.ping()
            return not await is_usable(inspection)

        await eventually(is_refused, description="the new primary was looked at", seconds=30)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await inspection.aclose()
        await store.aclose()
        sentinels.stop()


async def test_a_look_costs_two_round_trips(deployment: tuple[Inspection, SessionLog], redis: RedisChild) -> None:
    """One over the shared connection, beside one over the connection that subscribes."""
    inspection, _ = deployment
    execute(redis, "CONFIG", "RESETSTAT")
    await inspection.look()
    calls = {name: stats["calls"] for name, stats in execute(redis, "INFO", "commandstats").items()}
    assert calls["cmdstat_evalsha"] == 1
    assert calls["cmdstat_info"] <= 2
    for _ in range(3):
        await inspection.require()
    again = execute(redis, "INFO", "commandstats")
    assert again["cmdstat_evalsha"]["calls"] == 1


def test_every_plain_command_is_tried_or_needs_no_look() -> None:
    sources = [path for path in (ROOT / "midsentence").rglob("*.py") if path.name != "inspection.py"]
    sent = {name for path in sources for name in re.findall(r'command\(\s*"([A-Z ]+)"', path.read_text())}
    tried = {*re.findall(r'"([A-Z ]+)"', (ROOT / "midsentence" / "store" / "inspection.py").read_text())}
    # A cluster's client says itself that it got no map of the slots; ASKING needs no right of its own in practice.
    assert sent - tried <= {"ASKING", "CLUSTER INFO", "CLUSTER SLOTS"}
