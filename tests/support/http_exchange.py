"""One HTTP exchange of the scripted upstream, byte by byte."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from tests.support.answers import Answer


@dataclass
class Request:
    """A request and its outcome. Times are `time.monotonic()`."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: Any
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None  # the whole response was written
    disconnected: float | None = None  # the client disconnected before that
    sent: int = 0  # tokens

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages of a completion or a response."""
        return cast("list[dict[str, str]]", self.body.get("messages") or self.body.get("input") or [])

    @property
    def wants_usage(self) -> bool:
        options = cast("dict[str, bool]", self.body.get("stream_options") or {})
        return options.get("include_usage", False)

    @property
    def question(self) -> str:
        asked = [message["content"] for message in self.messages if message["role"] == "user"]
        return asked[-1] if asked else ""

    @property
    def partial(self) -> str:
        """The partial answer that is to be continued, as vLLM and llama.cpp define it."""
        last = self.messages[-1] if self.messages else {}
        goes_on = self.body.get("continue_final_message") is True and self.body.get("add_generation_prompt") is False
        return last["content"] if goes_on and last.get("role") == "assistant" else ""


class ResponseWriter:
    def __init__(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        self.writer = writer
        self.answer = answer

    async def document(self) -> None:
        answer = self.answer
        body: object = answer.body if answer.body is not None else {"error": {"message": f"scripted {answer.status}"}}
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        kind = "text/html" if isinstance(body, str) else "application/json"
        encoded = text.encode()
        headers = {"content-type": kind, "content-length": str(len(encoded)), **answer.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {answer.status} scripted\r\n{lines}\r\n".encode() + encoded)
        await self.writer.drain()

    async def head(self) -> None:
        """Begin a stream."""
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **self.answer.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        parts = [data[at : at + 1] for at in range(len(data))] if self.answer.split_utf8 else [data]
        # An empty chunk would end the response.
        for part in filter(None, parts):
            self.writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        await self.writer.drain()

    async def end(self) -> None:
        if self.answer.linger:
            await asyncio.Event().wait()
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def cut(self) -> None:
        if self.answer.reset:
            # Without a linger time of zero, close() sends a FIN if no data is unread.
            no_linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def without_stream(self) -> bool | None:
        """Send an answer that is no stream. Returns whether the connection can be reused, or None for a stream."""
        if self.answer.no_reply:
            await asyncio.Event().wait()
        if self.answer.hang_up:
            await self.cut()
            return False
        if not self.answer.is_stream:
            await self.document()
            return True
        return None
