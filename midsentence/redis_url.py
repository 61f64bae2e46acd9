"""The format of MIDSENTENCE_REDIS_URL: one Redis, the primary that sentinels name, or a cluster.

It is parsed without redis-py, whose import would slow down programs that only read their settings.
"""

import re
from typing import Literal, NamedTuple, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

Topology = Literal["single", "socket", "sentinel", "cluster"]

_SCHEMES: dict[str, tuple[Topology, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("socket", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
SCHEMES = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
_PORT, _SENTINEL_PORT = 6379, 26379
_BAD_HOST = "has a host or port that cannot be"
# The options that a URL may have. Time-outs and the protocol are not among them: this package depends on its own, and
# redis-py would prefer those of the URL.
_OPTIONS = frozenset({"client_name", "username", "password"})
_DATABASE_OPTION = frozenset({"db"})
# Sentinels have users of their own.
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_TLS_OPTIONS = frozenset(
    {
        *("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
        *("ssl_cert_reqs", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
    }
)


class HostPort(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisUrl(NamedTuple):
    topology: Topology
    tls: bool
    hosts: tuple[HostPort, ...]  # none for a socket
    user: str  # "name:password@" as it stands in the URL, or ""
    path: str  # the database's "/0" or "", or the socket's path
    service: str  # the name that the sentinels give the primary
    options: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises ValueError with the rest of the sentence "MIDSENTENCE_REDIS_URL cannot be used: …". It repeats no
        part of the URL: a password that is not percent-encoded can be in any of them.
        """
        scheme, separator, _ = url.partition("://")
        if not separator or scheme not in _SCHEMES:
            raise ValueError(f"must begin with one of {SCHEMES}")
        topology, tls = _SCHEMES[scheme]
        # urlsplit must not see the hosts: newer Pythons refuse a bracket behind anything but the "@". The scheme is one
        # that it knows, since its result depends on the scheme.
        rest = url[len(scheme) + len(separator) :]
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        parts = urlsplit(("unix" if topology == "socket" else "redis") + "://" + rest[len(authority) :])
        user, at, hosts = authority.rpartition("@")
        options = _options(parts.query, topology, tls=tls)
        if topology == "socket":
            if hosts or not parts.path.strip("/"):
                raise ValueError("must name the socket by its whole path, as in unix:///run/redis.sock")
            return cls(topology, tls, (), user + at, parts.path, "", options)
        addresses = tuple(_host_port(text, topology) for text in hosts.split(","))
        if topology == "single" and len(addresses) > 1:
            raise ValueError(
                "names more than one host: begin it with redis+sentinel:// or redis+cluster:// where that is meant"
            )
        service, path = _service(parts.path) if topology == "sentinel" else ("", parts.path.rstrip("/"))
        if path.strip("/") and not path[1:].isdecimal():
            raise ValueError("must name its database by a number")
        if topology == "cluster" and path.strip("/0"):
            raise ValueError("names a database: a cluster has only number 0")
        return cls(topology, tls, addresses, user + at, path, service, options)

    def of(self, host: HostPort) -> str:
        """The URL of one server, as redis-py reads it."""
        query = urlencode(
            {name: value for name, value in self.options.items() if not name.startswith("sentinel_")}, quote_via=quote
        )
        return f"{'rediss' if self.tls else 'redis'}://{self.user}{host}{self.path}" + (f"?{query}" if query else "")

    @property
    def address(self) -> str:
        """The address of Redis for messages, without the password that a URL may contain."""
        if self.topology == "socket":
            return unquote(self.path)
        hosts = ",".join(map(str, self.hosts))
        return f"{self.service} of the sentinels {hosts}" if self.topology == "sentinel" else hosts


def _options(query: str, topology: Topology, *, tls: bool) -> dict[str, str]:
    nothing = frozenset[str]()
    own = {"sentinel": _SENTINEL_OPTIONS, "cluster": nothing}.get(topology, _DATABASE_OPTION)
    known = _OPTIONS | own | (_TLS_OPTIONS if tls else nothing)
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise ValueError(f"has an option that is none of {', '.join(sorted(known))}")
    return options


def _host_port(text: str, topology: Topology) -> HostPort:
    default = _SENTINEL_PORT if topology == "sentinel" else _PORT
    if not text and topology == "single":
        return HostPort("127.0.0.1", default)
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(_BAD_HOST) from error
    if not host or port == 0:
        raise ValueError(_BAD_HOST)
    return HostPort(unquote(host), default if port is None else port)


def _service(path: str) -> tuple[str, str]:
    _, _, rest = path.partition("/")
    service, _, database = rest.partition("/")
    if not service:
        raise ValueError("must name the sentinels' service after the hosts, as in redis+sentinel://one:26379/mymaster")
    return unquote(service), f"/{database}" if database.strip("/") else ""
