"""The address that the server listens on: checked before anything is started, and polled until it answers."""

import asyncio
import errno
import ipaddress
import socket
import sys
from dataclasses import dataclass

from midsentence.errors import CannotStartError

# Thousands of clients may reconnect at once. Beyond the backlog, which the system limits too, TCP retries a connection
# only after one second, then two.
BACKLOG = 65_535
# A poll ends after this time: /readyz may wait for a Redis that does not answer.
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Address:
    """The address that the server listens on. `ip` is a literal: the server uses what was checked."""

    host: str
    ip: str
    port: int

    @property
    def url(self) -> str:
        """The URL for a browser, which cannot open a wildcard address."""
        name = self._reachable_ip if ipaddress.ip_address(self.ip).is_unspecified else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}"

    async def answers(self, path: str) -> bool:
        """Whether a GET of the path is answered with 200."""
        try:
            reader, writer = await asyncio.open_connection(self._reachable_ip, self.port)
        except OSError:
            return False
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            async with asyncio.timeout(ANSWER_SECONDS):
                return b" 200 " in await reader.readline()
        except OSError:  # TimeoutError included
            return False
        finally:
            writer.close()

    @property
    def _reachable_ip(self) -> str:
        ip = ipaddress.ip_address(self.ip)
        if not ip.is_unspecified:
            return self.ip
        return "127.0.0.1" if ip.version == 4 else "::1"


def free_address(host: str, port: int) -> Address:
    """Find the address to listen on. Raises CannotStartError where the server could not use it."""
    try:
        # IPv4 first: a browser that tries ::1 falls back to 127.0.0.1, and one without IPv6 needs 127.0.0.1.
        family, _, _, _, endpoint = min(socket.getaddrinfo(host or ".", port, type=socket.SOCK_STREAM))
    except (OSError, ValueError) as error:
        raise CannotStartError(
            f"There is no host {host!r}: --host takes an address of this machine, such as 127.0.0.1 or 0.0.0.0."
        ) from error
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server does: without it, the closed connections of an earlier run would make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(endpoint)
        except OSError as error:
            raise CannotStartError(_why_not_bound(error, host, port)) from error
    return Address(host, str(endpoint[0]), port)


def listening_sockets(address: Address, count: int = 1) -> list[socket.socket]:
    """Listen on the address with a socket for each of `count` processes. Raises CannotStartError.

    On Linux the kernel spreads connections evenly over sockets that have SO_REUSEPORT. At one socket for all processes,
    whichever wakes up first takes the connection: of 200 streams, one process of four got 152, another 7. Elsewhere
    SO_REUSEPORT gives all connections to one of the sockets, so there is only one, for all processes.
    """
    several = count > 1 and sys.platform == "linux"
    # getaddrinfo resolves the scope that an IPv6 address may have.
    family, _, _, _, endpoint = socket.getaddrinfo(address.ip, address.port, type=socket.SOCK_STREAM)[0]
    sockets: list[socket.socket] = []
    try:
        for _ in range(count if several else 1):
            listener = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if several:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(endpoint)
            listener.listen(BACKLOG)
            # The system chose a port where 0 was given; the other sockets listen on the same one.
            endpoint = listener.getsockname()
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise CannotStartError(_why_not_bound(error, address.host, address.port)) from error
    return sockets


def _why_not_bound(error: OSError, host: str, port: int) -> str:
    if isinstance(error, PermissionError):
        return f"Port {port} is for the system's own services: choose one above 1023."
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken by another program: stop it, or choose another port with --port."
    return f"{host} is not an address of this machine: --host takes one that is, such as 127.0.0.1 or 0.0.0.0."
