"""`python -m bench.provider`: a scripted provider with OpenAI's chat completions API, cheap to run.

It writes what OpenAI writes: one event of about 340 bytes for each token, each in an HTTP chunk of its own. The
question chooses the answer. `hold …` is answered with the head of a stream, which then waits for the command `stream`;
any other question gets a whole answer at once.

It prints {"port"}, and then answers each command on stdin, a JSON line, with another:
{"do": "held"} with {"held", "asked"}: the streams that are open, and all requests for one since the start;
{"do": "stream", "rate", "seconds"}: writes so many tokens a second into each of the streams, and answers with
{"sent", "cut"} when it has: the tokens of all streams, and the streams that were closed under it.
"""

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import uvloop

from bench.producers.pace import print_line
from bench.tokens import token

HOLD = "hold"
_MODEL = "gpt-5-mini-2025-08-07"
_ANSWER_TOKENS = 5
_FLUSH_SECONDS = 0.005
_HEAD = b"""\
HTTP/1.1 200 OK\r
Content-Type: text/event-stream; charset=utf-8\r
Cache-Control: no-store\r
Transfer-Encoding: chunked\r
\r
"""
_REFUSAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
# Stands in a chunk for the token. It is as long as one, so that all chunks of an answer are equally long.
_PLACE = token(0).decode()


class Stream:
    """The bytes of one answer."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._id = f"chatcmpl-{secrets.token_urlsafe(21)}"
        self._created = int(time.time())
        before, _, after = self._chunk({"content": _PLACE}).partition(_PLACE.encode())
        self._before, self._after = before, after
        # Of a stream that was held: its socket, and what the socket did not take yet.
        self._fd = -1
        self._waiting = bytearray()
        self.is_cut = False

    def hold(self) -> None:
        """From now on `write_now` writes, from any thread."""
        # The duplicate outlives the transport: the number of a closed socket may soon be another one's.
        self._fd = os.dup(self.transport.get_extra_info("socket").fileno())

    def write_now(self, text: bytes) -> None:
        if not self.is_cut:
            self._waiting += self._before + text + self._after
            self.flush()

    def flush(self) -> bool:
        """Whether the socket has taken all."""
        if self._waiting and not self.is_cut:
            try:
                del self._waiting[: os.write(self._fd, self._waiting)]
            except BlockingIOError:
                pass
            except OSError:
                self.is_cut = True
        return self.is_cut or not self._waiting

    def begin(self) -> None:
        self.transport.write(_HEAD + self._chunk({"role": "assistant", "content": "", "refusal": None}))

    def write(self, text: bytes) -> None:
        self.transport.write(self._before + text + self._after)

    def end(self) -> None:
        usage = {"prompt_tokens": 10, "completion_tokens": _ANSWER_TOKENS, "total_tokens": 10 + _ANSWER_TOKENS}
        last = self._chunk({}, "stop") + self._event({"choices": [], "usage": usage})
        self.transport.write(last + _chunked(b"data: [DONE]\n\n") + _LAST_CHUNK)

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._event({"choices": [choice], "usage": None, "obfuscation": secrets.token_urlsafe(6)})

    def _event(self, rest: dict[str, Any]) -> bytes:
        head = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": _MODEL,
            "service_tier": "default",
            "system_fingerprint": None,
        }
        return _chunked(b"data: %b\n\n" % json.dumps(head | rest, separators=(",", ":")).encode())


class Provider:
    def __init__(self) -> None:
        self._held: list[Stream] = []
        self._asked = 0
        # In each of the streams that are open.
        self._sent = 0
        self._flushing: asyncio.Task[None] | None = None

    def answer(self, question: str, transport: asyncio.Transport) -> None:
        stream = Stream(transport)
        stream.begin()
        if question.startswith(HOLD):
            self._asked += 1
            stream.hold()
            self._held.append(stream)
        else:
            for number in range(_ANSWER_TOKENS):
                stream.write(token(number))
            stream.end()

    async def stream(self, rate: float, seconds: float) -> dict[str, int]:
        if self._flushing:
            self._flushing.cancel()
        streams = list(self._held)
        # The same number of tokens in all streams, so that the next command continues them all alike.
        each = round(rate * seconds)
        await asyncio.to_thread(self._write, streams, 1 / (len(streams) * rate), each)
        self._sent += each
        self._flushing = asyncio.create_task(_flush(streams))
        return {"sent": each * len(streams), "cut": sum(stream.is_cut for stream in streams)}

    def _write(self, streams: Sequence[Stream], interval: float, each: int) -> None:
        """Write a token every `interval` seconds, `each` into each of the streams in turn.

        It sleeps for each token by itself: a loop's timers tick in milliseconds, and a process that reads several
        tokens at once is cheaper than one that is woken for each.
        """
        due = time.monotonic()
        for number in range(self._sent, self._sent + each):
            for stream in streams:
                pause = due - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                due += interval
                stream.write_now(token(number))

    def held(self) -> dict[str, int]:
        return {"held": len(self._held), "asked": self._asked}


class Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < (length := _content_length(head)):
            return
        self._received = body[length:]
        if head.startswith(b"POST /v1/chat/completions "):
            question = json.loads(body[:length])["messages"][-1]["content"]
            # The parts of a message that is not plain text.
            text = question if isinstance(question, str) else "".join(part.get("text", "") for part in question)
            self._provider.answer(text, self._transport)
        else:
            self._transport.write(_REFUSAL)


async def _flush(streams: Sequence[Stream]) -> None:
    """Write what sockets did not take while tokens were written."""
    behind = list(streams)
    while behind:
        behind = [stream for stream in behind if not stream.flush()]
        await asyncio.sleep(_FLUSH_SECONDS)


def _content_length(head: bytes) -> int:
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(headers.get(b"content-length", b"0"))


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def main() -> None:
    provider = Provider()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(provider), "127.0.0.1", 0, backlog=4096)
    print_line(json.dumps({"port": server.sockets[0].getsockname()[1]}))
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        match order.pop("do"):
            case "held":
                answer = provider.held()
            case _:
                answer = await provider.stream(**order)
        print_line(json.dumps(answer))


if __name__ == "__main__":
    uvloop.run(main())
