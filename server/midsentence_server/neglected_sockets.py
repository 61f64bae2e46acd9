"""The listening sockets of the other processes on this port, of which one may accept nothing for a while."""

import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

# More at once would delay the streams of this process when a crowd reconnects.
_ACCEPTED_AT_ONCE = 100


class NeglectedSockets:
    """Accepts connections that wait at a socket at two successive calls, so long that its own process does not."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = {listener.fileno(): listener for listener in sockets}
        self._waiting: set[int] = set()
        self._poll = select.poll()
        for descriptor, listener in self._sockets.items():
            listener.setblocking(False)
            self._poll.register(descriptor, select.POLLIN)

    def accept(self) -> Iterator[socket.socket]:
        if not self._sockets:
            return
        waiting = {descriptor for descriptor, _ in self._poll.poll(0)}
        neglected = waiting & self._waiting
        self._waiting = waiting
        for descriptor in neglected:
            # BlockingIOError: nothing waits any more. Any other error concerns the process whose socket it is.
            with suppress(OSError):
                for _ in range(_ACCEPTED_AT_ONCE):
                    connection, _ = self._sockets[descriptor].accept()
                    connection.setblocking(False)
                    yield connection

    def close(self) -> None:
        for listener in self._sockets.values():
            listener.close()
        self._sockets.clear()
