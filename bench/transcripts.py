"""The text that a reader ends with over all of its connections, folded as a client of the contender would."""

import json
from typing import Literal

# `native`: midsentence's events, where a snapshot replaces the text. `plain`: every event's data is appended, and a
# reader that comes back with its Last-Event-ID goes on there. `whole`: there are no ids; each connection begins anew.
Folding = Literal["native", "plain", "whole"]


class Transcript:
    def __init__(self, folding: Folding) -> None:
        self._folding: Folding = folding
        self.text = b""
        self.cursor: str | None = None

    def take(self, received: bytes) -> None:
        """Add all that one connection received, from its status line on."""
        pieces: list[bytes] = []
        if self._folding == "whole":
            self.text = b""
        # What follows the last blank line is the beginning of an event that never arrived.
        for block in body(received).split(b"\n\n")[:-1]:
            fields = [(name, value) for name, _, value in (line.partition(b": ") for line in block.split(b"\n"))]
            event = dict(fields)
            if b"id" in event:
                self.cursor = event[b"id"].decode()
            if self._folding != "native":
                pieces += [value for name, value in fields if name == b"data"]
            elif event.get(b"event") == b"delta":
                pieces.append(json.loads(event[b"data"])["text"].encode())
            elif event.get(b"event") == b"snapshot":
                messages = json.loads(event[b"data"])["messages"]
                self.text = "".join(message["text"] for message in messages if message["role"] == "assistant").encode()
                pieces.clear()
        self.text += b"".join(pieces)


def body(received: bytes) -> bytes:
    """A response's body as far as it came (RFC 9112, 7.1)."""
    head, _, rest = received.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    chunks: list[bytes] = []
    at = 0
    while (line := rest.find(b"\r\n", at)) >= 0:
        size = int(rest[at:line], 16)
        chunks.append(rest[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
    return b"".join(chunks)
