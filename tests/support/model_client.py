"""Call a model in a test."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from midsentence.events import Delta
from midsentence.settings import Settings
from midsentence_worker.models import make_model
from midsentence_worker.models.base import Message, Model, Piece
from midsentence_worker.models.errors import ModelError

QUESTION = (Message("user", "Is anybody there?"),)


@asynccontextmanager
async def model_at(
    address: str,
    *,
    key: str | None = None,
    timeout_seconds: float = 10,
    api: str = "chat",
    flush_ms: float = 25,
    think_tags: bool = True,
    fallbacks: tuple[str, ...] = (),
) -> AsyncGenerator[Model, None]:
    # Every setting is given, so that the environment of the tests has no effect.
    settings = Settings.model_validate(
        {
            "OPENAI_BASE_URL": address,
            "OPENAI_API_KEY": None,
            "model": "scripted",
            "models": None,
            "model_timeout_seconds": timeout_seconds,
            "api": api,
            "takeover": "auto",
            "flush_ms": flush_ms,
            "think_tags": think_tags,
        }
    )
    # Settings refuse a key that no header can carry; a file of models may have one.
    model = make_model(replace(settings.model_list.default, api_key=key, fallbacks=fallbacks), settings)
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
    """Call a model whose answer fails. Returns the text before the failure, and the failure."""
    text = ""
    try:
        async with aclosing(model.stream(messages, mark)) as pieces:
            async for piece in pieces:
                text += piece.text if isinstance(piece, Delta) else ""
    except ModelError as failure:
        return text, failure
    pytest.fail(f"the answer did not fail: {text!r}")


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))
