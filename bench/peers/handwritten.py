"""`python -m bench.peers.handwritten PORT REDIS_URL [PROVIDER_URL]`: the relay that follows from the manuals.

Each reader has a task of its own that blocks on its session's stream. Within this design it is written well: one reply
brings all waiting entries, and no reader waits for a connection to Redis.

With the address of a provider it is a whole application: each POST starts a task that reads the SDK's stream and adds
every delta to the session's stream.
"""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from typing import cast

import openai
import uvicorn
from redis.asyncio import Redis
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

# A reply of XREAD: the name of each stream with new entries, and the entries.
Streams = list[tuple[str, list[tuple[str, dict[str, str]]]]]

_BLOCK_MS = 15_000
# Without this limit, a reader that attaches late would be sent its whole stream in one reply.
_COUNT = 500
# A blocked XREAD holds its connection: with fewer connections than readers, readers would wait for each other.
_CONNECTIONS = 20_000
_MODEL = "gpt-5-mini"


def connect(url: str) -> Redis:
    # redis-py's own time-out of 5 s would abort every XREAD that blocks for longer.
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # redis-py leaves **kwargs untyped
        url, decode_responses=True, max_connections=_CONNECTIONS, socket_timeout=None
    )


def relay(redis: Redis) -> Route:
    async def events(session: str, cursor: str) -> AsyncIterator[ServerSentEvent]:
        # uvicorn sends the headers with the first piece of the body: without this, the reader of an idle session would
        # not get its response.
        yield ServerSentEvent(comment="ok", sep="\n")
        while True:
            streams = cast("Streams", await redis.xread({session: cursor}, count=_COUNT, block=_BLOCK_MS))
            for _, entries in streams:
                for entry, fields in entries:
                    if "end" in fields:
                        return
                    yield ServerSentEvent(fields["t"], id=entry, sep="\n")
                    cursor = entry

    async def stream(request: Request) -> EventSourceResponse:
        cursor = request.headers.get("Last-Event-ID", "0-0")
        return EventSourceResponse(events(request.path_params["session"], cursor))

    return Route("/stream/{session}", stream)


def chat(redis: Redis, provider_url: str) -> Route:
    model = openai.AsyncOpenAI(base_url=provider_url, api_key="none")
    # The loop itself keeps only weak references to its tasks.
    running = set[asyncio.Task[None]]()

    async def answer(session: str, text: str) -> None:
        try:
            chunks = await model.chat.completions.create(
                model=_MODEL, messages=[{"role": "user", "content": text}], stream=True
            )
            async for chunk in chunks:
                if chunk.choices and (content := chunk.choices[0].delta.content):
                    await redis.xadd(session, {"t": content})
        finally:
            await redis.xadd(session, {"end": "1"})

    async def ask(request: Request) -> JSONResponse:
        session = secrets.token_hex(16)
        task = asyncio.create_task(answer(session, (await request.json())["text"]))
        running.add(task)
        task.add_done_callback(running.discard)
        return JSONResponse({"events_url": f"/stream/{session}"}, 202)

    return Route("/chat", ask, methods=["POST"])


def main() -> None:
    port, url, *provider = sys.argv[1:]
    redis = connect(url)
    uvicorn.run(
        Starlette(routes=[relay(redis), *(chat(redis, address) for address in provider)]),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        backlog=4096,
    )


if __name__ == "__main__":
    main()
