"""Ask a model in a test."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

from midsentence.events import Delta
from midsentence.settings import Settings
from midsentence_worker.models import make_model
from midsentence_worker.models.base import Message, Model, Piece
from midsentence_worker.models.errors import ModelError

QUESTION = (Message("user", "Is anybody there?"),)


@asynccontextmanager
async def model_at(
    address: str, *, key: str | None = None, timeout_seconds: float = 10, api: str = "chat"
) -> AsyncGenerator[Model, None]:
    # Given outright, so that the environment of whoever runs the test has no say.
    model = make_model(
        Settings.model_validate(
            {
                "OPENAI_BASE_URL": address,
                "OPENAI_API_KEY": key,
                "model": "scripted",
                "model_timeout_seconds": timeout_seconds,
                "api": api,
            }
        )
    )
    try:
        yield model
    finally:
        await model.aclose()


async def collect(model: Model, messages: Sequence[Message] = QUESTION, mark: str = "") -> list[Piece]:
    async with aclosing(model.stream(messages, mark)) as pieces:
        return [piece async for piece in pieces]


async def collect_failure(
    model: Model, messages: Sequence[Message] = QUESTION, mark: str = ""
) -> tuple[str, ModelError]:
    """Ask for an answer that fails; return its text until then, and the failure."""
    text = ""
    try:
        async with aclosing(model.stream(messages, mark)) as pieces:
            async for piece in pieces:
                text += piece.text if isinstance(piece, Delta) else ""
    except ModelError as failure:
        return text, failure
    pytest.fail(f"an answer that was to fail ended well: {text!r}")


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))


async def eventually(predicate: Callable[[], object], *, description: str, seconds: float = 1) -> None:
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {description}")
        await asyncio.sleep(0.005)
