"""Stop a turn, and wait until the log says how it ended."""

import asyncio

from midsentence.log import Stopped
from midsentence_server.relay.feed import Burst
from midsentence_server.relay.hub import Hub

# A worker that hears of a stop writes the end in a fraction of this; one that died of it needs a lease's time, and is
# worth no held connection.
_PATIENCE_SECONDS = 10.0


class _Watcher:
    def __init__(self) -> None:
        self.news = asyncio.Event()

    def deliver(self, burst: Burst) -> None:  # noqa: ARG002 - whatever it is
        self.news.set()

    def wake(self) -> None:
        self.news.set()

    def ping(self) -> None:
        pass


async def observed_stop(hub: Hub, session_id: str, owner: str, turn: int | None) -> Stopped:
    """Ask for a turn's end until it is in the log, or patience ends: then the reason is None and the request holds.

    Raises SessionNotFoundError, TurnNotFoundError, StoreUnavailableError.
    """
    stopped = await hub.log.stop(session_id, owner, turn)
    if stopped.reason is not None:
        return stopped
    watcher = _Watcher()
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    feed = await hub.feed(session_id)
    feed.join(watcher)
    try:
        # A feed tells what is new only when it knows what is old.
        await feed.load(b"")
        while not hub.draining:
            watcher.news.clear()
            stopped = await hub.log.stop(session_id, owner, stopped.turn)
            if stopped.reason is not None:
                break
            try:
                async with asyncio.timeout_at(deadline):
                    await watcher.news.wait()
            except TimeoutError:
                break
    finally:
        feed.leave(watcher)
    return stopped
