import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

import pytest

from midsentence.address import Address, free_address, listening_sockets
from midsentence.errors import CannotStartError
from tests.support.processes import free_port


def test_the_url_shows_the_name_and_the_server_uses_its_address() -> None:
    port = free_port()
    address = free_address("localhost", port)
    assert (address.ip, address.url) == ("127.0.0.1", f"http://localhost:{port}")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (Address("0.0.0.0", "0.0.0.0", 80), "http://127.0.0.1:80"),
        (Address("::", "::", 80), "http://[::1]:80"),
        (Address("::1", "::1", 80), "http://[::1]:80"),
        (Address("127.0.0.2", "127.0.0.2", 80), "http://127.0.0.2:80"),
    ],
    ids=lambda value: value.host if isinstance(value, Address) else "",
)
def test_the_url_is_one_that_a_browser_can_open(address: Address, url: str) -> None:
    assert address.url == url


def test_a_port_with_connections_in_time_wait_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        accepted.close()  # this side closes first, so it is the one that lingers in TIME_WAIT
        client.close()
    assert free_address("127.0.0.1", port).port == port


def test_sockets_of_several_processes_listen_on_one_port() -> None:
    with listening(free_address("127.0.0.1", 0), 3) as sockets:
        (port,) = {listener.getsockname()[1] for listener in sockets}
        assert port > 0
        clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(30)]
        accepted = [accept_all(listener) for listener in sockets]
        assert sum(accepted) == len(clients)
        if sys.platform == "linux":  # elsewhere one socket is for all
            assert len(accepted) == 3
            assert all(accepted), "the kernel must spread connections over the sockets"
        for client in clients:
            client.close()


def test_a_port_that_several_processes_share_is_taken_for_others() -> None:
    with listening(free_address("127.0.0.1", 0), 2) as sockets:
        port = sockets[0].getsockname()[1]
        with pytest.raises(CannotStartError, match=f"Port {port} is taken"):
            free_address("127.0.0.1", port)
        with pytest.raises(CannotStartError, match=f"Port {port} is taken"):
            listening_sockets(Address("127.0.0.1", "127.0.0.1", port))


@contextmanager
def listening(address: Address, count: int) -> Generator[list[socket.socket]]:
    sockets = listening_sockets(address, count)
    yield sockets
    for listener in sockets:
        listener.close()


def accept_all(listener: socket.socket) -> int:
    """Accept and close the connections that wait. Returns their number."""
    listener.setblocking(False)
    accepted = 0
    with suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.close()
            accepted += 1
    return accepted
