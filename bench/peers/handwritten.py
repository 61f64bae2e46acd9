"""`python -m bench.peers.handwritten PORT REDIS_URL`: the relay that follows from the documentation of its parts.

Each reader has a task of its own that blocks on its session's stream. Within this design it is written well: one reply
brings all waiting entries, and no reader waits for a connection to Redis.
"""

import sys
from collections.abc import AsyncIterator
from typing import cast

import uvicorn
from redis.asyncio import Redis
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

# A reply of XREAD: the name of each stream with new entries, and the entries.
Streams = list[tuple[str, list[tuple[str, dict[str, str]]]]]

_BLOCK_MS = 15_000
# Without this limit, a reader that attaches late would be sent its whole stream in one reply.
_COUNT = 500
# A blocked XREAD holds its connection: with fewer connections than readers, readers would wait for each other.
_CONNECTIONS = 20_000


def application(url: str) -> Starlette:
    # redis-py's own time-out of 5 s would abort every XREAD that blocks for longer.
    redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # redis-py leaves **kwargs untyped
        url, decode_responses=True, max_connections=_CONNECTIONS, socket_timeout=None
    )

    async def events(session: str, cursor: str) -> AsyncIterator[ServerSentEvent]:
        # uvicorn sends the headers with the first piece of the body: without this, the reader of an idle session would
        # not get its response.
        yield ServerSentEvent(comment="ok", sep="\n")
        while True:
            streams = cast("Streams", await redis.xread({session: cursor}, count=_COUNT, block=_BLOCK_MS))
            for _, entries in streams:
                for entry, fields in entries:
                    yield ServerSentEvent(fields["t"], id=entry, sep="\n")
                    cursor = entry

    async def stream(request: Request) -> EventSourceResponse:
        cursor = request.headers.get("Last-Event-ID", "0-0")
        return EventSourceResponse(events(request.path_params["session"], cursor))

    return Starlette(routes=[Route("/stream/{session}", stream)])


def main() -> None:
    port, url = sys.argv[1:]
    uvicorn.run(
        application(url),
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
