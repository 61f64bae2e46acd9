import socket

import pytest

from midsentence.address import Address, free_address
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
