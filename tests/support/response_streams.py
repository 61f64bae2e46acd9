"""The streams of OpenAI Responses in tests that script their bytes."""

import pytest

from midsentence_worker.models import background_response, retry
from tests.support.chat_answers import event
from tests.support.raw_provider import reply

# A provider that does not have the response any more.
GONE = reply(b'{"error": {"message": "No such response."}}', "404 Not Found", kind="application/json")


def sent(kind: str, number: int | None = None, **fields: object) -> bytes:
    """One event of the stream; `number` is its sequence number."""
    numbered: dict[str, object] = {} if number is None else {"sequence_number": number}
    return event({"type": f"response.{kind}", **numbered, **fields}, f"response.{kind}")


def shorten_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lost response be asked for again, and polled, at once."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(background_response, "_POLL_SECONDS", 0.001)
