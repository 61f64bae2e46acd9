"""How a turn fails, in the words of docs/protocol.md (the table of `error.code`)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from midsentence.errors import MidsentenceError

ErrorCode = Literal[
    "model_unreachable",
    "model_refused_key",
    "model_rate_limited",
    "model_failed",
    "model_refused_request",
    "model_stalled",
    "model_truncated",
    "attempts_exhausted",
    "worker_lost",
    "internal",
]

# One table, so that no place that raises can contradict the protocol.
RETRYABLE: Final[Mapping[ErrorCode, bool]] = MappingProxyType(
    {
        "model_unreachable": True,
        "model_refused_key": False,
        "model_rate_limited": True,
        "model_failed": True,
        "model_refused_request": False,
        "model_stalled": True,
        "model_truncated": True,
        "attempts_exhausted": True,
        "worker_lost": True,
        "internal": True,
    }
)


class ModelError(MidsentenceError):
    """The model gave no whole answer.

    `message` says what to do and is safe to show to the person who asked: it holds no key.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: Final[ErrorCode] = code
        self.message: Final = message
        self.retryable: Final = RETRYABLE[code]
