"""Stop a turn, and wait until its end is in the log."""

import asyncio

from midsentence.log import Stopped
from midsentence_server.relay.burst import Burst
from midsentence_server.relay.hub import Hub

# A live worker writes the end in a fraction of this. A dead worker's turn ends when its lease expires, which is not
# worth an open request.
_WAIT_SECONDS = 10.0


class _Follower:
    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def deliver(self, burst: Burst) -> None:  # noqa: ARG002 - any event may be the end
        self.changed.set()

    def wake(self) -> None:
        self.changed.set()

    def ping(self) -> None:
        pass


async def observed_stop(hub: Hub, session_id: str, owner: str, turn: int | None) -> Stopped:
    """Request the end of a turn and wait for it. The reason is None where it has not ended in time; the request stands.

    Raises SessionNotFoundError, TurnNotFoundError, StoreUnavailableError.
    """
    stopped = await hub.log.stop(session_id, owner, turn)
    if stopped.reason is not None:
        return stopped
    follower = _Follower()
    deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
    feed = await hub.feed(session_id)
    feed.join(follower)
    try:
        # A feed delivers events only once it is loaded.
        await feed.load(b"")
        while not hub.draining:
            follower.changed.clear()
            stopped = await hub.log.stop(session_id, owner, stopped.turn)
            if stopped.reason is not None:
                break
            try:
                async with asyncio.timeout_at(deadline):
                    await follower.changed.wait()
            except TimeoutError:
                break
    finally:
        feed.leave(follower)
    return stopped
