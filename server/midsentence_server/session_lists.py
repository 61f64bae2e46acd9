"""Notes sessions in their owners' lists, and notes later what could not be noted at once."""

import asyncio

import structlog

from midsentence.errors import StoreUnavailableError
from midsentence.owners import Owners

_RETRY_SECONDS = 1.0
# Beyond this number the list of a session waits for its next message.
_LIMIT = 1_000

_logger = structlog.get_logger()


class SessionLists:
    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        # The owners, by the ids of the sessions that their lists lack.
        self._missing: dict[str, str] = {}

    async def note(self, owner: str, session_id: str) -> None:
        """Move a session to the head of its owner's list, now or as soon as Redis can be written.

        Raises no StoreUnavailableError: the message is in the log by then, so that a refusal would be wrong.
        """
        try:
            await self._owners.note(owner, session_id)
        except StoreUnavailableError as error:
            _logger.warning("session_not_listed", session=session_id, error=str(error))
            if len(self._missing) < _LIMIT:
                self._missing[session_id] = owner

    async def run(self) -> None:
        """Note what is missing, for ever."""
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            for session_id, owner in list(self._missing.items()):
                try:
                    await self._owners.note(owner, session_id)
                except StoreUnavailableError:
                    # In a cluster, another owner's list may be on a master that answers.
                    continue
                del self._missing[session_id]
