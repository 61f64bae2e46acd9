"""Every key and channel in Redis.

Each begins with the namespace of its deployment (MIDSENTENCE_NAMESPACE). A database of its own would not keep two
deployments apart: a cluster has one database, and channels are common to all databases of a server.

All keys of a session and the jobs of its partition share one hash tag, so they are in one slot of a cluster.
lua/claim.lua and lua/trim.lua build a session's keys from `PartitionKeys.prefix` by the same rule as `session`.
"""

from typing import NamedTuple

# The hash tag of each partition, by its number. A search chose them so that the CRC16 slots of the first 2, 4, 8 … 256
# tags spread evenly over the 16,384 slots of a cluster. The bare numbers as tags would crowd on a few masters. The tags
# must never change: the keys of all sessions contain them.
_TAGS = """
    2b7 16 2b6 17 201 c0 200 c1 ae 22d ad 22e 3c d 3b e e4 20f cf 264 1a 218 73 219 3 34 2 35 223 49 222 48 274 bf
    21f d4 209 63 208 62 25 2a4 24 2a5 58 232 59 233 6d 2c6 6e 2c7 b1 210 b0 211 23e f7 23d f6 2ac 2b 2ab 2c 278 12
    279 13 205 c4 204 c5 29 243 28 22a 54 2f5 3f a cc 20b cb 20c 1e 2bd 1d 2be 7 30 6 31 227 a6 226 a7 21c bb 21b bc
    2ce 67 2cd 66 21 2a0 20 2a1 fd 236 fe 237 9a 269 6a 268 b5 214 b4 215 23a 38 253 39 433 2f 2af 44 14 2b5 15 2b4
    69 203 68 202 22f 133 244 af f 3a 239 53 20d ce 20e cd 2bb 1c 2bc 1b 36 1 37 0 a0 221 a1 220 bd 21e be 21d 61
    2cc 60 2cb 2a6 27 2a7 26 230 fb 231 fc 2c4 6f 2c5 9f 212 78 213 79 f5 9 f4 8 43 229 2a 228 10 2b1 11 2b0 c6 207
    c7 206 22b ac 22c ab b 3e c 3d 263 ca 20a e3 2bf 74 2d4 1f 32 5 33 4 a4 225 a5 224 18 21a 19 273 65 2e4 64 2cf
    249 23 248 22 234 ff 235 143 2c0 6b 2c1 6c 216 b7 217 b6 f1 23c f0 23b 2d 2ae 2e 2ad
""".split()  # noqa: SIM905 - 256 quoted lines would be harder to read


class SessionKeys(NamedTuple):
    """The keys of one session, in the order of every script's KEYS. An append gets the first three alone."""

    meta: str  # hash: owner, state, id of the last event, lease
    log: str  # stream: one entry for each event, whose only field is the event's type and its value the data
    live: str  # channel: announcements to readers (announcements.py)
    turns: str  # hash: turn -> JSON list of its finished messages
    queue: str  # list of waiting messages: "<key>\n<turn>\n<mark>\n<message JSON>", the mark "stopped" or "-"
    seen: str  # hash: Idempotency-Key -> "<turn> <digest of the body>"
    jobs: str  # sorted set of the partition: session ids by the time (ms) from which their turn may be claimed
    trims: str  # sorted set of the partition: session ids by the time (ms) at which their deltas are trimmed
    wake: str  # channel of the partition: wake-ups of workers (announcements.py)


class PartitionKeys(NamedTuple):
    """The keys of a partition, which a worker needs before it knows a session."""

    jobs: str
    trims: str
    wake: str
    prefix: str  # a session's `meta` is this prefix and its id


def partition_of(session_id: str) -> int:
    return int(session_id[:2], 16)


class Keys:
    """The keys and channels of one namespace. A namespace contains no brace, or that would change the hash tags."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._partitions = [
            PartitionKeys(f"{prefix}jobs", f"{prefix}trims", f"{prefix}wake", prefix)
            for prefix in (f"{namespace}:{{{tag}}}:" for tag in _TAGS)
        ]
        # Holds the secret that signs cookies where MIDSENTENCE_SECRET is not set.
        self.secret = f"{namespace}:secret"

    def partition(self, number: int) -> PartitionKeys:
        return self._partitions[number]

    def session(self, session_id: str) -> SessionKeys:
        jobs, trims, wake, prefix = self._partitions[partition_of(session_id)]
        own = prefix + session_id
        return SessionKeys(
            meta=own,
            log=f"{own}:log",
            live=f"{own}:live",
            turns=f"{own}:turns",
            queue=f"{own}:queue",
            seen=f"{own}:seen",
            jobs=jobs,
            trims=trims,
            wake=wake,
        )

    def jobs(self, session_id: str) -> str:
        """The jobs of the session's partition, a key that is in the session's slot and the same for many sessions."""
        return self._partitions[partition_of(session_id)].jobs

    def fsync_mark(self, session_id: str) -> str:
        """The key that is written before WAITAOF, in the session's slot."""
        return f"{self._partitions[partition_of(session_id)].prefix}fsync"

    def breaker(self, model: str) -> str:
        """Hash of a model's circuit breaker (lua/breaker.lua). All are in one slot, so one request reads them all."""
        return f"{self._namespace}:{{breakers}}:{model}"

    def owned_sessions(self, owner: str) -> str:
        """Sorted set of an owner's session ids by the time (µs) of their last message.

        It is a hint, repaired on read.
        """
        return f"{self._namespace}:{{{owner}}}:sessions"
