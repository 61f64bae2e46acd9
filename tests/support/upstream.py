"""A scripted OpenAI-compatible server over real HTTP, which sends exactly the bytes that a test scripts.

In a test: `with Upstream() as upstream:` (a thread with its own loop), then `upstream.answers.append(Answer(...))` and
`upstream.url` as OPENAI_BASE_URL. As a process: `python -m tests.support.upstream --port 0` prints its address;
there the question chooses the answer (`answer_for`), `GET /v1/requests` lists the requests, and `GET /v1/responses`
lists the background responses with their costs.
"""

import argparse
import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Self
from urllib.parse import parse_qsl

from tests.support.answers import MODEL, Answer, answer_for, text_for
from tests.support.background_responses import Responses
from tests.support.chat_completions import Completion
from tests.support.http_exchange import Request, ResponseWriter
from tests.support.listener import stop_listening

__all__ = ["MODEL", "Answer", "Request", "Upstream", "answer_for", "text_for"]


_MODEL_CALLS = {("POST", "/v1/chat/completions"), ("POST", "/v1/responses")}


class Upstream:
    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, key: str | None = None) -> None:
        self.host = host
        self.port = port
        self.key = key
        self.answers: deque[Answer] = deque()
        self.log: list[Request] = []
        self.responses = Responses()
        self.refuses_partial = False  # whether a request that ends with a partial answer gets 400, as from OpenAI
        self.connections = 0  # accepted since the start
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._connected: set[asyncio.Task[Any]] = set()
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._failed: OSError | None = None

    @property
    def url(self) -> str:
        """The value for OPENAI_BASE_URL."""
        return f"http://{self.host}:{self.port}/v1"

    @property
    def requests(self) -> list[Request]:
        """The requests for completions and responses, oldest first."""
        return [request for request in self.log if (request.method, request.path) in _MODEL_CALLS]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve from a thread. The port stays the same after a restart."""
        self._ready.clear()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), name="upstream", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed

    def reset(self) -> None:
        """Reset for another test."""
        self.answers.clear()
        self.log.clear()
        self.responses.clear()
        self.refuses_partial = False

    def stop(self) -> None:
        """Cut every connection and free the port."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._loop = self._thread = None

    async def serve(self, announce: Callable[[str], object] | None = None) -> None:
        try:
            await self._listen()
        except OSError as error:
            self._failed = error
            self._ready.set()
            raise
        self._loop = asyncio.get_running_loop()
        self._failed = None
        self._ready.set()
        if announce is not None:
            announce(self.url)
        await self._stop.wait()
        if self._server is not None:
            await stop_listening(self._server)
        await self.responses.stop()
        # All tasks that are left are connections. One that was accepted just now is a task that has not begun yet; an
        # open socket that the loop leaves behind would be a warning in a later test.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            # A task that is cancelled before it begins closes nothing.
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._server is not None:
            await self._server.wait_closed()

    async def go_down(self) -> None:
        """Cut every connection, and refuse others until `come_back`. Background responses go on meanwhile.

        Both belong into the upstream's own loop; see `call`. The port must be none of those that the system gives to
        connections: such a one may be taken meanwhile.
        """
        assert self._server is not None, "is down already"
        server, self._server = self._server, None
        await stop_listening(server)
        for task in self._connected:
            task.cancel()

    async def come_back(self) -> None:
        await self._listen()

    def call(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        """Run a coroutine in the upstream's own loop. May be called from any thread."""
        assert self._loop is not None, "not started"
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._connected.add(task)
        try:
            await _Connection(self, reader, writer).serve()
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass  # asyncio's streams would report a cancelled task as an error
        finally:
            self._connected.discard(task)
            writer.transport.abort()

    async def play(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer a request. Returns whether the connection can take another."""
        if request.path.startswith("/v1/responses/") and self._admits(request):
            return await self.responses.respond(writer, request)
        response_writer = ResponseWriter(writer, self.choose(request))
        if (request.method, request.path) == ("POST", "/v1/responses"):
            return await self.responses.create(response_writer, request)
        return await Completion(response_writer, request).play()

    def choose(self, request: Request) -> Answer:
        if not self._admits(request):
            # OpenAI quotes the key with a mask; some servers quote the whole key.
            return Answer(status=401, body={"error": {"message": f"Incorrect API key provided: {_key(request)}."}})
        if (request.method, request.path) in _MODEL_CALLS:
            return self._scripted(request)
        match request.method, request.path:
            case "GET", "/v1/models":
                return Answer(body={"object": "list", "data": [{"id": MODEL, "object": "model"}]})
            case "GET", "/v1/requests":
                return Answer(body=[asdict(request) for request in self.requests])
            case "GET", "/v1/responses":
                return Answer(body=self.responses.summary)
            case _:
                return Answer(status=404, body={"error": {"message": f"Invalid URL ({request.method} {request.path})"}})

    def _admits(self, request: Request) -> bool:
        return self.key in (None, _key(request))

    def _scripted(self, request: Request) -> Answer:
        if self.refuses_partial and request.messages[-1]["role"] == "assistant":
            return Answer(status=400, body={"error": {"message": "Unknown parameter: continue_final_message."}})
        if not self.answers:
            return recall(request) or answer_for(request.question)
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
            watch = asyncio.create_task(self._disconnected())
            play = asyncio.create_task(self.upstream.play(request, self.writer))
            try:
                await asyncio.wait((watch, play), return_when=asyncio.FIRST_COMPLETED)
                # A client that leaves while something is written to it fails the write.
                if not play.done() or isinstance(play.exception(), ConnectionError):
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
        path, _, query = target.partition("?")
        return Request(method, path, dict(parse_qsl(query)), headers, json.loads(body) if body else None)

    async def _disconnected(self) -> None:
        """Wait until the client disconnects. The first byte of its next request is kept in `early`."""
        with suppress(ConnectionError):
            self.early = await self.reader.read(1)
        if self.early:
            await asyncio.Event().wait()


def recall(request: Request) -> Answer | None:
    """Answer with the number of messages that were sent, as the demo model does."""
    if not request.question.startswith("How many messages"):
        return None
    seen = sum(message["role"] != "system" for message in request.messages)
    return Answer(tokens=["I was ", f"sent {seen} messages ", "of this conversation."])


def _key(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


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
