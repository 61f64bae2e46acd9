"""The forms of MIDSENTENCE_REDIS_URL, and the errors for all others."""

import re

import pytest

from midsentence.errors import BadSettingsError
from midsentence.redis_url import HostPort, RedisUrl
from midsentence.settings import Settings
from midsentence.store.topology import topology_of


@pytest.mark.parametrize(
    ("url", "address", "servers"),
    [
        ("redis://", "127.0.0.1:6379", ["redis://127.0.0.1:6379"]),
        ("redis://:hush@one/2", "one:6379", ["redis://:hush@one:6379/2"]),
        ("rediss://one?ssl_cert_reqs=none", "one:6379", ["rediss://one:6379?ssl_cert_reqs=none"]),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock", []),
        (
            "redis+sentinel://me:hush@one,two:7,[::1]/main/3",
            "main of the sentinels one:26379,two:7,[::1]:26379",
            ["redis://me:hush@one:26379/3", "redis://me:hush@two:7/3", "redis://me:hush@[::1]:26379/3"],
        ),
        (
            "rediss+cluster://me:hush@one:1,two?ssl_ca_certs=/ca.pem",
            "one:1,two:6379",
            [
                "rediss://me:hush@one:1?ssl_ca_certs=%2Fca.pem",
                "rediss://me:hush@two:6379?ssl_ca_certs=%2Fca.pem",
            ],
        ),
    ],
)
def test_a_url_is_shown_without_its_password_and_each_server_keeps_it(
    url: str, address: str, servers: list[str]
) -> None:
    parsed = RedisUrl.parse(url)
    assert parsed.address == address
    assert [parsed.of(host) for host in parsed.hosts] == servers
    topology_of(Settings.model_validate({"redis_url": url}))


def test_the_password_of_the_sentinels_is_not_sent_to_the_primary() -> None:
    url = RedisUrl.parse("redis+sentinel://:hush@one/main?sentinel_password=shush")
    assert url.options == {"sentinel_password": "shush"}
    assert url.of(HostPort("two", 1)) == "redis://:hush@two:1"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1", "must begin with one of redis://, rediss://, unix://, redis+sentinel://"),
        ("redis+sentinels://one/main", "must begin with one of"),
        ("redis://one,two", "more than one host"),
        ("redis://one:70000", "a host or port that cannot be"),
        ("redis+cluster://one,,two", "a host or port that cannot be"),
        ("redis+cluster://", "a host or port that cannot be"),
        ("redis+cluster://one/1", "a cluster has only number 0"),
        ("redis+sentinel://one,two", "must name the sentinels' service"),
        ("redis+sentinel://one/main/first", "by a number"),
        ("redis://one/first", "by a number"),
        ("unix://run/redis.sock", "by its whole path"),
        ("redis://one?socket_timeout=9", "an option that is none of"),
        ("redis://one?ssl_cert_reqs=none", "an option that is none of"),
    ],
)
def test_an_invalid_url_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch, url: str, reason: str) -> None:
    monkeypatch.setenv("MIDSENTENCE_REDIS_URL", url)
    with pytest.raises(BadSettingsError, match=f"^MIDSENTENCE_REDIS_URL cannot be used.*{re.escape(reason)}"):
        Settings.load()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hu/sh@one",
        "redis://:hu?sh@one",
        "redis://:hu#sh@one",
        "redis://:hush@one:x",
        "redis+sentinel://:hush@one",
        "redis://one?password=hush&x=1",
        "redis+cluster://:hush@one/9",
    ],
)
def test_an_error_repeats_no_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("MIDSENTENCE_REDIS_URL", url)
    with pytest.raises(BadSettingsError) as caught:
        Settings.load()
    for part in ("hu", "sh@"):
        assert part not in str(caught.value).removeprefix("MIDSENTENCE_REDIS_URL cannot be used")
