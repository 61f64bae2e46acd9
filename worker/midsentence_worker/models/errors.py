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

    `message` says what happened and what to do, `reason` only what happened. They contain no key and no address, so
    they may be shown to the person who asked. `retry_after`: the seconds after which the provider wants to be asked
    again, if it named any. `is_final`: the model would fail at the same request again. `detail` is for the log: the
    address, and the provider's words as they were.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        reason: str = "",
        retry_after: float | None = None,
        is_final: bool = False,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.reason = reason or message
        self.retry_after = retry_after
        self.is_final = is_final
        self.detail = detail
        self.retryable = RETRYABLE[code]

    def unraised(self) -> "ModelError":
        """The same failure without a traceback."""
        return ModelError(
            self.code,
            self.message,
            reason=self.reason,
            retry_after=self.retry_after,
            is_final=self.is_final,
            detail=self.detail,
        )


class InvalidKeyError(Exception):
    """No HTTP header can hold the provider's key."""


class StreamStalledError(Exception):
    """No byte of a stream came for the whole time-out."""


class StreamBrokenError(Exception):
    """The connection ended before the stream did."""
