"""A reader in a thread, which reconnects with its cursor as an EventSource does and records its events."""

import threading
import time
from collections.abc import Iterable, Sequence

import httpx

from tests.support.client import Transcript, Visitor, lines_of, parse
from tests.support.waiting import wait_until


class Reader(threading.Thread):
    def __init__(self, visitor: Visitor, session_id: str, base_url: str | None = None, *, turns: int = 1) -> None:
        """Read until `turns` turns have ended."""
        super().__init__(daemon=True)
        self.transcript = Transcript(session_id)
        self.connections = 0
        self.not_found = False
        self.received_at: list[float] = []
        self._visitor = visitor
        self._base_url = base_url
        self._turns = turns
        self._error: BaseException | None = None
        self.start()

    @property
    def events(self) -> int:
        return len(self.transcript.events)

    @property
    def text(self) -> str:
        return self.transcript.answer(self._turns)

    @property
    def gaps(self) -> list[float]:
        """Seconds between each two successive events."""
        return [after - before for before, after in zip(self.received_at, self.received_at[1:], strict=False)]

    def run(self) -> None:
        try:
            while not self.transcript.end(self._turns) and not self.not_found:
                self._listen()
        except BaseException as error:  # noqa: BLE001 - raised by `wait_for_end`
            self._error = error

    def wait_for_end(self, seconds: float = 30) -> Transcript:
        """Wait for the end. Raises the thread's error, or AssertionError if the end does not come."""
        self.join(seconds)
        if self._error is not None:
            raise self._error
        assert not self.is_alive(), f"no end within {seconds:g} s; it has {self.events} events"
        return self.transcript

    def _listen(self) -> None:
        self.connections += 1
        path = f"{self._base_url or ''}/sessions/{self.transcript.session_id}/events?until=end"
        headers = {} if self.transcript.cursor is None else {"Last-Event-ID": self.transcript.cursor}
        try:
            with self._visitor.http.stream("GET", path, headers=headers) as response:
                self.not_found = response.status_code == 404
                if response.status_code == 200:
                    for event in parse(lines_of(response.iter_raw())):
                        self.transcript.take(event)
                        self.received_at.append(time.monotonic())
                        if self.transcript.end(self._turns):
                            return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


def wait_for_text(readers: Sequence[Reader], characters: int) -> None:
    """Wait until each reader has a text of this length. Events are no measure: a busy worker merges tokens."""
    wait_until(
        lambda: all(len(reader.text) >= characters for reader in readers),
        description=f"{characters} characters at every reader",
        timeout=40,
    )


def assert_ids_name_one_content(transcripts: Iterable[Transcript]) -> None:
    """Check protocol 1.1 over all events that any reader received."""
    contents: dict[str, tuple[str, str]] = {}
    for transcript in transcripts:
        for event in transcript.events:
            # A snapshot's id is its position, and its content grows as more events are folded into it.
            if event.id is not None and event.type != "snapshot":
                known = contents.setdefault(event.id, (event.type, event.data))
                assert known == (event.type, event.data), f"{event.id} names two contents"
