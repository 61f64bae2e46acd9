"""Asks a model for the titles of new sessions, in the background: no answer waits for a title."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from midsentence.breakers import Breakers
from midsentence.errors import StoreUnavailableError
from midsentence.events import Delta, Entry, Usage
from midsentence.log import SessionLog, View, automatic_title
from midsentence_worker import title_text
from midsentence_worker.models.base import Finish, Mark, Message, Model
from midsentence_worker.models.errors import ModelError
from midsentence_worker.models.tokens import estimated_usage

# For one title, from the request to its end: reasoning before it may be long.
_SECONDS = 60
# A longer reply is no title; the rest of it is not paid for.
_REPLY_CHARS = 4_000
_CANCEL_SECONDS = 2
# So many titles of one worker may be asked for at once. A session beyond them keeps its first title.
_LIMIT = 64
_ANSWERED = frozenset({"stop", "length"})

_logger = structlog.get_logger()


class TitleMaker:
    def __init__(self, model: Model, log: SessionLog, breakers: Breakers) -> None:
        self._model = model
        self._log = log
        self._breakers = breakers
        # The loop holds tasks only weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, session_id: str, view: View, entries: Sequence[Entry], turn: int) -> None:
        """Ask for a title where the turn is the first one that was answered, and nobody gave a title.

        `view` is the session at the beginning of the turn, `entries` the conversation after its end.
        """
        found = excerpt(entries, turn)
        if found is None or view.access.kind != "chat" or len(self._tasks) >= _LIMIT:
            return
        automatic = automatic_title(entries[0].text)
        # A model that is down is not asked for titles: its answers are what it is probed for.
        if view.title != automatic or self._breakers.failure(self._model.name) is not None:
            return
        task = asyncio.create_task(self._make(session_id, automatic, title_text.request(*found)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End the calls that are running. Their sessions keep their first title."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _make(self, session_id: str, automatic: str, asked: Sequence[Message]) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                reply, usage = await self._reply(asked)
                title = title_text.title(reply)
                is_stored = bool(title) and await self._log.entitle(session_id, automatic, title)
        except (ModelError, StoreUnavailableError, TimeoutError) as error:
            why = str(error) or f"no title within {_SECONDS} s"
            _logger.warning("title_failed", session=session_id, model=self._model.name, error=why)
        except Exception:
            _logger.exception("title_failed", session=session_id, model=self._model.name)
        else:
            _logger.info(
                "title_made",
                session=session_id,
                model=self._model.name,
                stored=is_stored,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                source=usage.source,
            )

    async def _reply(self, asked: Sequence[Message]) -> tuple[str, Usage]:
        """The model's text without its reasoning, and what it cost. Raises ModelError."""
        texts: list[str] = []
        length, mark = 0, ""
        try:
            async with contextlib.aclosing(self._model.stream(asked)) as stream:
                async for piece in stream:
                    match piece:
                        case Delta(text):
                            texts.append(text)
                            length += len(text)
                            if length > _REPLY_CHARS:
                                break
                        case Mark(value):
                            mark = value
                        case Finish(_, usage):
                            mark = ""
                            return "".join(texts), usage or estimated_usage(asked, "".join(texts))
                        case _:
                            pass  # reasoning
                else:
                    raise ModelError("model_truncated", "The model's reply broke off before its end.")
            return "".join(texts), estimated_usage(asked, "".join(texts))
        finally:
            if mark:
                # A response in the background would go on without a reader.
                with contextlib.suppress(ModelError, TimeoutError):
                    async with asyncio.timeout(_CANCEL_SECONDS):
                        await self._model.cancel(mark)


def excerpt(entries: Sequence[Entry], turn: int) -> tuple[str, str] | None:
    """The question and the answer of a turn, if it is the first one of its session that was answered."""
    answered = [entry for entry in entries if entry.role == "assistant" and entry.end in _ANSWERED]
    if len(answered) != 1 or answered[0].turn != turn or not answered[0].text.strip():
        return None
    question = next((entry.text for entry in entries if entry.role == "user" and entry.turn == turn), "")
    return question, answered[0].text
