import socket
from collections.abc import Generator

import pytest

from midsentence_server import neglected_sockets
from midsentence_server.neglected_sockets import NeglectedSockets


@pytest.fixture
def listener() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def connect(listener: socket.socket, count: int = 1) -> list[socket.socket]:
    return [socket.create_connection(listener.getsockname(), timeout=5) for _ in range(count)]


def accepted(neglected: NeglectedSockets) -> int:
    connections = list(neglected.accept())
    assert not any(connection.getblocking() for connection in connections)
    for connection in connections:
        connection.close()
    return len(connections)


def test_connections_that_wait_twice_are_accepted(listener: socket.socket) -> None:
    neglected = NeglectedSockets([listener])
    clients = connect(listener, 3)
    assert [accepted(neglected) for _ in range(3)] == [0, 3, 0]
    for client in clients:
        assert client.recv(1) == b"", "it was closed here, so it was accepted here"
        client.close()


def test_connection_is_left_to_its_own_process_if_that_accepts_in_time(listener: socket.socket) -> None:
    neglected = NeglectedSockets([listener])
    for client in connect(listener):
        assert accepted(neglected) == 0
        listener.accept()[0].close()
        assert accepted(neglected) == 0
        client.close()
    later = connect(listener)
    assert accepted(neglected) == 0
    later[0].close()


def test_a_crowd_is_accepted_bit_by_bit(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neglected_sockets, "_ACCEPTED_AT_ONCE", 2)
    neglected = NeglectedSockets([listener])
    clients = connect(listener, 5)
    assert [accepted(neglected) for _ in range(5)] == [0, 2, 2, 1, 0]
    for client in clients:
        client.close()


def test_closed_sockets_are_polled_no_more(listener: socket.socket) -> None:
    neglected = NeglectedSockets([listener])
    clients = connect(listener)
    neglected.close()
    assert [accepted(neglected) for _ in range(3)] == [0, 0, 0]
    clients[0].close()
