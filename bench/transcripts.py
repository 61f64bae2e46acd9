"""A reader's text over all of its connections, folded as a client of the contender would."""

import json
from typing import Literal

# `native`: midsentence's events; a snapshot replaces the text. `plain`: the data of every event is appended, and a
# reader that reconnects with its Last-Event-ID continues there. `whole`: no ids, so each connection starts again.
Folding = Literal["native", "plain", "whole"]


class Transcript:
    def __init__(self, folding: Folding) -> None:
        self._folding: Folding = folding
        self.text = b""
        self.cursor: str | None = None

    def take(self, received: bytes) -> None:
        """Add all bytes of one connection, from its status line on."""
        pieces: list[bytes] = []
        if self._folding == "whole":
            self.text = b""
        # The bytes after the last blank line are an incomplete event.
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
    """The part of a response's body that arrived (RFC 9112, 7.1)."""
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
