"""Why a turn fails: the codes of docs/protocol.md (the table of `error.code`)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

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

# The only table, so that no caller can contradict the protocol.
RETRYABLE: Mapping[ErrorCode, bool] = MappingProxyType(
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
    """The model gave no complete answer.

    `message` says what to do. It contains no key, so it may be shown to the person who asked.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.retryable = RETRYABLE[code]


class InvalidKeyError(Exception):
    """No HTTP header can hold the provider's key."""


class StreamStalledError(Exception):
    """No byte of a stream came for the whole time-out."""


class StreamBrokenError(Exception):
    """The connection ended before the stream did."""
