"""What Redis must offer, and the sentence that says what it lacks. Pure: `inspection` asks, and gives the replies."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from redis.exceptions import NoPermissionError

from midsentence.errors import StoreUnusableError
from midsentence.redis_url import RedisUrl
from midsentence.settings import Settings
from midsentence.store.node import lacks_right

OLDEST_VERSION = 7
# Redis' words for a command that it does not have: sent by a client, and called in a script.
_UNKNOWN = re.compile(r"unknown (redis )?command", re.IGNORECASE)


def failures(replies: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """The names of the commands that failed, and Redis' words."""
    return [
        # redis-py takes the code away from an error for which it has a type.
        (name, f"NOPERM {reply}" if isinstance(reply, NoPermissionError) else str(reply))
        for name, reply in replies
        if isinstance(reply, Exception)
    ]


def failed_in_script(reply: Any) -> list[tuple[str, str]]:
    """The failures that lua/probe.lua replies, where it ran."""
    if isinstance(reply, Exception):
        return []
    return [(name.decode(), error.decode(errors="replace")) for name, error in reply]


def sections(info: Any) -> dict[str, str]:
    """The fields of INFO; none where the user may not ask for it."""
    lines = info.decode(errors="replace").splitlines() if isinstance(info, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def old(info: Mapping[str, str]) -> StoreUnusableError | None:
    version = info.get("redis_version", "")
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) >= OLDEST_VERSION:
        return None
    return StoreUnusableError(f"Redis {version} is too old: use Redis or Valkey {OLDEST_VERSION} or newer.")


def replica(info: Mapping[str, str], failed: Iterable[tuple[str, str]]) -> StoreUnusableError | None:
    if info.get("role") != "slave" and not any("read only replica" in error for _, error in failed):
        return None
    return StoreUnusableError(
        "Redis is a replica, which cannot be written to: put its primary into MIDSENTENCE_REDIS_URL, or its sentinels, "
        "as redis+sentinel://."
    )


def unknown(failed: Iterable[tuple[str, str]]) -> StoreUnusableError | None:
    names = sorted({name for name, error in failed if _UNKNOWN.search(error)})
    if not names:
        return None
    return StoreUnusableError(
        f"Redis does not know {', '.join(names)}: use Redis or Valkey {OLDEST_VERSION} or newer, with all its commands."
    )


def evicting(info: Mapping[str, str]) -> StoreUnusableError | None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or info.get("maxmemory", "0") == "0":
        return None
    return StoreUnusableError(
        f"Redis removes keys, and so conversations, when its memory is full (maxmemory-policy {policy}): set "
        "maxmemory-policy noeviction, or MIDSENTENCE_ALLOW_EVICTION=1 where you accept that."
    )


def volatile(info: Mapping[str, str], waited: Any) -> StoreUnusableError | None:
    """What MIDSENTENCE_DURABLE=1 lacks; `waited` is the reply to WAITAOF."""
    if isinstance(waited, Exception) and _UNKNOWN.search(str(waited)):
        return StoreUnusableError("MIDSENTENCE_DURABLE=1 needs WAITAOF: use Redis or Valkey 7.2 or newer, or unset it.")
    if info.get("aof_enabled") == "0" or isinstance(waited, Exception):
        return StoreUnusableError(
            "MIDSENTENCE_DURABLE=1 needs an append-only file: set `appendonly yes` in Redis, or unset it."
        )
    return None


def without_rights(failed: Iterable[tuple[str, str]], settings: Settings) -> StoreUnusableError | None:
    lacking = [(name, error) for name, error in failed if lacks_right(error)]
    if not lacking:
        return None
    rules: dict[str, None] = {}
    for name, error in lacking:
        if "channel" in error:
            rules[f"&{settings.namespace}:*"] = None
        elif "key" in error:
            # The rule for all keys, and the command: a selector may give it for some keys alone.
            rules[f"~{settings.namespace}:*"] = None
            if name != "EVALSHA":
                rules[f"+{name.lower()}"] = None
        else:
            rules["+" + name.lower().replace(" ", "|")] = None
    user = _user(settings.redis_url)
    return StoreUnusableError(
        f"The user {user} of Redis lacks rights: run `ACL SETUSER {user} {' '.join(rules)}` there, or see the "
        "section Redis of docs/operations.md."
    )


def _user(url: str) -> str:
    parsed = RedisUrl.parse(url)
    return unquote(parsed.user.rpartition("@")[0].partition(":")[0]) or parsed.options.get("username") or "default"
