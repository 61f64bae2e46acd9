"""A scripted OpenAI-compatible server over real HTTP, with every byte under the test's control.

In a test: `with Upstream() as upstream:` (a thread with its own loop), then `upstream.answers.append(Answer(...))` and
`upstream.url` as OPENAI_BASE_URL. As a process: `python -m tests.support.upstream --port 0` prints its address; there
the question chooses the answer (`answer_for`), and `GET /v1/requests` tells what was asked.
"""

import argparse
import asyncio
import json
import random
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self, cast

MODEL: Final = "scripted"

_PIECES: Final = (
    *("the ", "log ", "is ", "one ", "truth", ", ", "and ", "reload", "ing ", "costs ", "nothing", ". "),
    *("断", "线", "重连", "，", "一个字", "也不", "丢", "。", "\n", "\n\n", "- ", "`x = 1`", "  "),
    *("😀", "👩‍👩‍👧‍👦", "🇨🇳", "é", "e\u0301", "\u2028", "\ufeff", '"', "\\", "<b>", "&amp;", "data: ", "\t", "0"),
)


def text_for(question: str) -> list[str]:
    """Tell which tokens an unscripted answer to this question has.

    `tokens=200 seed=7` makes 200 of them, the same on every machine; any other question is echoed.
    """
    wanted = _numbers(question)
    if "tokens" not in wanted:
        return ["You", " asked: ", *re.findall(r"\S+\s*|\s+", question)]
    chosen = random.Random(int(wanted.get("seed", 0)))
    return [chosen.choice(_PIECES) for _ in range(int(wanted["tokens"]))]


def answer_for(question: str) -> "Answer":
    """Script an answer by words of the question.

    `tokens=200 rate=50 seed=7` (tokens a second), and `cut=`, `stall=`, `error=` (after that many tokens) or `status=`.
    """
    wanted = _numbers(question)
    whole = {name: int(value) for name, value in wanted.items()}
    return Answer(
        tokens=text_for(question),
        delay=1 / wanted["rate"] if wanted.get("rate") else 0,
        status=whole.get("status", 200),
        cut_after=whole.get("cut"),
        stall_after=whole.get("stall"),
        error_after=whole.get("error"),
    )


def _numbers(question: str) -> dict[str, float]:
    names = "tokens|rate|seed|cut|stall|error|status"
    return {name: float(value) for name, value in re.findall(rf"\b({names})=(\d+(?:\.\d+)?)", question)}


@dataclass
class Answer:
    """One scripted response. The `*_after` fields count tokens (reasoning first, then text)."""

    tokens: Sequence[str] = ("Hello", ", ", "world", ".")
    reasoning: Sequence[str] = ()
    reasoning_field: str = "reasoning_content"
    delay: float = 0  # seconds before each token
    gate: bool = False  # each token waits for release()
    finish: str | None = "stop"
    done: bool = True  # whether `data: [DONE]` follows
    usage: tuple[int, int] | None = (11, 7)  # input, output; sent where the request asked for it
    usage_in_finish: bool = False  # some servers put it there, asked or not
    linger: bool = False  # keeps the connection open and silent after the last byte
    status: int = 200  # any other answers with `body` instead of a stream
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    never: bool = False  # the request is read and never answered
    hang_up: bool = False  # the request is read and the connection closed
    cut_after: int | None = None  # the connection ends there, in the middle of the response
    reset: bool = False  # the cut is a TCP reset
    stall_after: int | None = None  # silence from there on
    error_after: int | None = None  # an `{"error": …}` object in the stream
    split_utf8: bool = False  # every byte travels in an HTTP chunk of its own
    raw: Sequence[bytes] = ()  # instead of all events: the body, one HTTP chunk each
    refuses_stream_options: bool = False

    _permits: int = field(default=0, repr=False)
    _opened: bool = field(default=False, repr=False)
    _wake: Callable[[], object] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def is_stream(self) -> bool:
        return self.status == 200 and self.body is None

    def release(self, count: int = 1) -> None:
        """Let that many more tokens through the gate. From any thread."""
        with self._lock:
            self._permits += count
            wake = self._wake
        if wake is not None:
            wake()

    def release_all(self) -> None:
        with self._lock:
            self._opened = True
            wake = self._wake
        if wake is not None:
            wake()

    async def admitted(self) -> None:
        """Wait for this token's permit."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        while True:
            with self._lock:
                if self._opened:
                    return
                if self._permits:
                    self._permits -= 1
                    return
                woken.clear()
            await woken.wait()


@dataclass
class Request:
    """What was asked, and what became of it. Times are `time.monotonic()`."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: Any
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None  # the whole response was written
    disconnected: float | None = None  # the client left before that
    sent: int = 0  # tokens

    @property
    def messages(self) -> list[dict[str, str]]:
        return cast("list[dict[str, str]]", self.body["messages"])

    @property
    def wants_usage(self) -> bool:
        options = cast("dict[str, bool]", self.body.get("stream_options") or {})
        return options.get("include_usage", False)

    @property
    def question(self) -> str:
        asked = [message["content"] for message in self.messages if message["role"] == "user"]
        return asked[-1] if asked else ""


class Upstream:
    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, key: str | None = None) -> None:
        self.host = host
        self.port = port
        self.key = key
        self.answers: deque[Answer] = deque()
        self.log: list[Request] = []
        self.connections = 0  # ever accepted
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._failed: OSError | None = None

    @property
    def url(self) -> str:
        """For OPENAI_BASE_URL."""
        return f"http://{self.host}:{self.port}/v1"

    @property
    def requests(self) -> list[Request]:
        """The completions that were asked for, oldest first."""
        return [request for request in self.log if request.path == "/v1/chat/completions"]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve from a thread. The port stays the same when it is stopped and started again."""
        self._ready.clear()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), name="upstream", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Cut every connection and free the port."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._loop = self._thread = None

    async def serve(self, announce: Callable[[str], object] | None = None) -> None:
        connections: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = cast("asyncio.Task[None]", asyncio.current_task())
            connections.add(task)
            self.connections += 1
            try:
                await _Connection(self, reader, writer).serve()
            except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
                pass  # a task that ends as cancelled would be reported by asyncio's streams
            finally:
                connections.discard(task)
                writer.transport.abort()

        try:
            server = await asyncio.start_server(connected, self.host, self.port)
        except OSError as error:
            self._failed = error
            self._ready.set()
            raise
        self.port = server.sockets[0].getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._failed = None
        self._ready.set()
        if announce is not None:
            announce(self.url)
        await self._stop.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()

    def choose(self, request: Request) -> Answer:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key not in (None, given):
            # OpenAI repeats the key (masked); a careless server repeats it whole.
            return Answer(status=401, body={"error": {"message": f"Incorrect API key provided: {given}."}})
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                return self._completion(request)
            case "GET", "/v1/models":
                return Answer(body={"object": "list", "data": [{"id": MODEL, "object": "model"}]})
            case "GET", "/v1/requests":
                return Answer(body=[asdict(asked) for asked in self.requests])
            case _:
                return Answer(status=404, body={"error": {"message": f"Invalid URL ({request.method} {request.path})"}})

    def _completion(self, request: Request) -> Answer:
        if not self.answers:
            return answer_for(request.question)
        if self.answers[0].refuses_stream_options and "stream_options" in request.body:
            return Answer(status=400, body={"error": {"message": "Unknown parameter.", "param": None}})
        return self.answers.popleft()


class _Connection:
    def __init__(self, upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.upstream = upstream
        self.reader = reader
        self.writer = writer
        self.early = b""

    async def serve(self) -> None:
        while (request := await self._request()) is not None:
            self.upstream.log.append(request)
            answer = self.upstream.choose(request)
            watch = asyncio.create_task(self._left())
            play = asyncio.create_task(_Response(self.writer, request, answer).play())
            try:
                await asyncio.wait((watch, play), return_when=asyncio.FIRST_COMPLETED)
                if not play.done():
                    request.disconnected = time.monotonic()
                    return
                if not play.result():
                    return
                request.finished = time.monotonic()
            finally:
                watch.cancel()
                play.cancel()
                await asyncio.gather(watch, play, return_exceptions=True)

    async def _request(self) -> Request | None:
        try:
            head = self.early + await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        self.early = b""
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Request(method, target.partition("?")[0], headers, json.loads(body) if body else None)

    async def _left(self) -> None:
        """Return when the client goes away; the first byte of its next request is kept for that."""
        with suppress(ConnectionError):
            self.early = await self.reader.read(1)
        if self.early:
            await asyncio.Event().wait()


class _Response:
    def __init__(self, writer: asyncio.StreamWriter, request: Request, answer: Answer) -> None:
        self.writer = writer
        self.request = request
        self.answer = answer

    async def play(self) -> bool:
        """Write the answer. Whether the connection can take another request."""
        answer = self.answer
        if answer.never:
            await asyncio.Event().wait()
        if answer.hang_up:
            await self._cut()
            return False
        if not answer.is_stream:
            await self._document()
            return True
        await self._stream_head()
        if answer.raw:
            for piece in answer.raw:
                await self._chunk(piece)
        elif not await self._events():
            return False
        if answer.linger:
            await asyncio.Event().wait()
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return True

    async def _document(self) -> None:
        answer = self.answer
        body: object = answer.body if answer.body is not None else {"error": {"message": f"scripted {answer.status}"}}
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        kind = "text/html" if isinstance(body, str) else "application/json"
        encoded = text.encode()
        headers = {"content-type": kind, "content-length": str(len(encoded)), **answer.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {answer.status} scripted\r\n{lines}\r\n".encode() + encoded)
        await self.writer.drain()

    async def _stream_head(self) -> None:
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **self.answer.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
        await self.writer.drain()

    async def _events(self) -> bool:
        """Write all events. False where the script cuts the connection."""
        answer = self.answer
        await self._event(self._delta({"role": "assistant", "content": ""}))
        deltas = [{answer.reasoning_field: token} for token in answer.reasoning]
        deltas += [{"content": token} for token in answer.tokens]
        for sent, delta in enumerate([*deltas, None]):
            if sent == answer.error_after:
                await self._event({"error": {"message": "The scripted model broke.", "code": 500}})
                return True
            if sent == answer.stall_after:
                await asyncio.Event().wait()
            if sent == answer.cut_after:
                await self._cut()
                return False
            if delta is not None:
                await self._wait()
                await self._event(self._delta(delta))
                self.request.sent += 1
        await self._tail()
        return True

    async def _wait(self) -> None:
        if self.answer.gate:
            await self.answer.admitted()
        if self.answer.delay:
            await asyncio.sleep(self.answer.delay)

    async def _tail(self) -> None:
        answer = self.answer
        usage = answer.usage and {
            "prompt_tokens": answer.usage[0],
            "completion_tokens": answer.usage[1],
            "total_tokens": sum(answer.usage),
        }
        if answer.finish is not None:
            finish = self._delta({}, finish=answer.finish)
            await self._event({**finish, "usage": usage} if answer.usage_in_finish else finish)
        if usage and self.request.wants_usage and not answer.usage_in_finish:
            await self._event({**self._delta({}), "choices": [], "usage": usage})
        if answer.done:
            await self._chunk(b"data: [DONE]\n\n")

    def _delta(self, delta: Mapping[str, str], finish: str | None = None) -> dict[str, object]:
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": self.request.body.get("model", MODEL),
            "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish}],
        }

    async def _event(self, data: Mapping[str, object]) -> None:
        await self._chunk(b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n")

    async def _chunk(self, data: bytes) -> None:
        parts = [data[at : at + 1] for at in range(len(data))] if self.answer.split_utf8 else [data]
        # An empty chunk would end the response.
        for part in filter(None, parts):
            self.writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        await self.writer.drain()

    async def _cut(self) -> None:
        if self.answer.reset:
            # Without a linger time of zero, close() says FIN where nothing is left unread.
            no_linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key")
    given = parser.parse_args()
    upstream = Upstream(host=given.host, port=given.port, key=given.key)
    with suppress(KeyboardInterrupt):
        asyncio.run(upstream.serve(announce=lambda url: print(url, flush=True)))


if __name__ == "__main__":
    main()
