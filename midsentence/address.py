"""Where the server listens: checked before anything is started, and asked whether it answers."""

import asyncio
import errno
import ipaddress
import socket
from dataclasses import dataclass

from midsentence.errors import CannotStartError

# Asked anew after this long: /readyz may wait for a Redis that does not answer.
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Address:
    """Where the server listens. `ip` is literal: what was checked is then what is used, whatever names come to mean."""

    host: str
    ip: str
    port: int

    @property
    def url(self) -> str:
        """For a person. A wildcard is no address that a browser can open."""
        name = self._reachable_ip if ipaddress.ip_address(self.ip).is_unspecified else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}"

    async def answers(self, path: str) -> bool:
        """Whether GET of the path is answered 200."""
        try:
            reader, writer = await asyncio.open_connection(self._reachable_ip, self.port)
        except OSError:
            return False
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            async with asyncio.timeout(ANSWER_SECONDS):
                return b" 200 " in await reader.readline()
        except OSError:  # a TimeoutError is one
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
    """Where to listen. Raises CannotStartError where the server could not."""
    try:
        # IPv4 first: a browser that tries ::1 before 127.0.0.1 falls back, one whose machine has no IPv6 cannot.
        family, _, _, _, place = min(socket.getaddrinfo(host or ".", port, type=socket.SOCK_STREAM))
    except (OSError, ValueError) as error:
        raise CannotStartError(
            f"There is no host {host!r}: --host takes an address of this machine, such as 127.0.0.1 or 0.0.0.0."
        ) from error
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server does it: without this the connections of a run just ended would count as the port being taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except PermissionError as error:
            raise CannotStartError(f"Port {port} is for the system's own services: choose one above 1023.") from error
        except OSError as error:
            raise CannotStartError(_why_not_bound(error, host, port)) from error
    return Address(host, str(place[0]), port)


def _why_not_bound(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken by another program: stop it, or choose another port with --port."
    return f"{host} is not an address of this machine: --host takes one that is, such as 127.0.0.1 or 0.0.0.0."
