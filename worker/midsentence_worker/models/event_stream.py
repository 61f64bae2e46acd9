"""The parser of event streams: a provider's bytes, cut anywhere, to events (HTML standard, section 9.2.6).

It differs from the standard in one point: a byte order mark is taken off in front of `data:` on any line, since a .NET
server writes one for each of its writers.
It keeps an event's type and data. `id` and `retry` are for clients that reconnect by themselves, so they are ignored.
"""

import codecs

# An event's type, empty where the stream names none, and its data, whose lines are joined by LF. It is a plain tuple,
# since one is made for each token.
ServerSentEvent = tuple[bytes, bytes]


class EventTooLongError(ValueError):
    """An event did not end within the limit."""


class EventStreamParser:
    """Feed it the bytes of one stream in order. What follows the last blank line is no event, as the standard says."""

    def __init__(self, longest_event: int) -> None:
        """`longest_event` bounds, in bytes, what is kept of an event that has not ended."""
        self._longest_event = longest_event
        self._at_start = True
        # The last byte was a CR: a LF that follows belongs to the same line end.
        self._after_cr = False
        # The beginning of a line, in the parts in which it came.
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._type = b""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take the next bytes and return the events that they complete.

        Raises EventTooLongError. The parser is of no use after that.
        """
        if self._at_start:
            data = self._without_bom(data)
        if self._after_cr or b"\r" in data:
            data = self._with_line_feeds(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        events: list[ServerSentEvent] = []
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
            self._line_bytes = 0
        for line in lines:
            if line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._data_bytes += len(value)
            elif line:
                self._take(line)
            else:
                if self._data:
                    events.append((self._type, b"\n".join(self._data)))
                    self._data.clear()
                    self._data_bytes = 0
                self._type = b""
        if rest:
            self._line.append(rest)
            self._line_bytes += len(rest)
        if self._line_bytes + self._data_bytes > self._longest_event:
            raise EventTooLongError
        return events

    def rest(self) -> ServerSentEvent | None:
        """The event that the bytes so far have begun and not ended, which the standard drops."""
        lines = [*self._data]
        line = b"".join(self._line).removeprefix(codecs.BOM_UTF8)
        if line.startswith(b"data:"):
            lines.append(line[len(b"data:") :].removeprefix(b" "))
        return (self._type, b"\n".join(lines)) if lines else None

    def _take(self, line: bytes) -> None:
        if line.startswith(codecs.BOM_UTF8):
            line = line.removeprefix(codecs.BOM_UTF8)
            if line.startswith(b"data:"):
                self._data.append(line[len(b"data:") :].removeprefix(b" "))
                self._data_bytes += len(line)
                return
        if line.startswith(b"event:"):
            self._type = line[6:].removeprefix(b" ")
        elif line == b"data":
            self._data.append(b"")
        elif line == b"event":
            self._type = b""

    def _without_bom(self, data: bytes) -> bytes:
        """Cut off one leading byte order mark, which may come in parts."""
        data = b"".join((*self._line, data))
        self._line.clear()
        self._line_bytes = 0
        if len(data) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(data):
            if data:
                self._line.append(data)
            return b""
        self._at_start = False
        return data.removeprefix(codecs.BOM_UTF8)

    def _with_line_feeds(self, data: bytes) -> bytes:
        """End every line with LF: a CR, a LF and a CRLF are one line end each."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
