"""One request to a scripted model, before the first turn.

The SDK imports half of its modules, runs `uname` and builds its decoders when they are first used. In a turn, all that
blocks the event loop: for a moment on an idle machine, for two seconds on a busy one or from a cold disk. No lease is
renewed meanwhile, and no other turn goes on.
"""

from contextlib import aclosing, suppress

from midsentence_worker.models.base import Message, Model
from midsentence_worker.models.errors import ModelError


async def rehearse(scripted: Model) -> None:
    """Read an answer of a model that needs no network, and close the model."""
    # A key that cannot be sent is reported by each turn.
    with suppress(ModelError):
        async with aclosing(scripted.stream([Message("user", ".")])) as pieces:
            async for _ in pieces:
                pass
    await scripted.aclose()
