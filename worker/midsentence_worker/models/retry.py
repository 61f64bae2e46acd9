"""When to send a request again that has not begun to answer. Nothing was written yet, so no text can come twice.

The rules: a status counts, also where the body of its response cannot be read, and so does a code that a provider
reports in a stream before its answer. A provider that is busy (408, 409, 425, 429) or failed (5xx) is asked again; one
that refused is not.
"""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite

import httpx2
import openai

from midsentence_worker.models.base import LONGEST_PAUSE_WITHOUT_TEXT
from midsentence_worker.models.errors import InvalidKeyError, StreamStalledError
from midsentence_worker.models.reported_errors import ReportedError

FIRST_PAUSE_SECONDS = 0.5
_RETRIES = 2
# Where another model can answer, it is asked instead of a longer pause.
LONGEST_PAUSE_BEFORE_A_FALLBACK = 1.0
# Client errors that say "later": a time-out, a conflict with another request, too early, and too many requests.
BUSY = frozenset({408, 409, 425, 429})


def pause(error: Exception, attempt: int, longest: float = LONGEST_PAUSE_WITHOUT_TEXT) -> float | None:
    """Seconds to wait before the next try, or None where another try does not help. `attempt` counts from 0."""
    if attempt >= _RETRIES:
        return None
    usual = FIRST_PAUSE_SECONDS * 2**attempt
    if isinstance(error, ReportedError):
        return usual if _is_transient(error.status) else None
    if (refused := refusal(error)) is not None:
        if not _is_transient(refused.status_code):
            return None
        if refused.headers.get("x-should-retry") == "false":  # OpenAI sends it when a quota is used up
            return None
        wished = retry_after(refused.headers) or usual
        return wished if wished <= longest else None
    # A model that was silent for the whole time-out had its time, and an invalid key stays invalid.
    return None if is_stall(error) or isinstance(error, InvalidKeyError) else usual


def status(error: BaseException) -> int | None:
    """The status with which a provider refused a request, if it did."""
    if isinstance(error, ReportedError):
        return error.status
    refused = refusal(error)
    return None if refused is None else refused.status_code


def refusal(error: BaseException) -> httpx2.Response | None:
    """The response that refuses a request."""
    return error.response if isinstance(error, openai.APIStatusError) else None


def _is_transient(refused: int | None) -> bool:
    return refused is not None and (refused in BUSY or refused >= 500)


def is_stall(error: Exception) -> bool:
    """Whether the provider was silent for the whole time-out."""
    return isinstance(error, TimeoutError | StreamStalledError) or isinstance(error.__cause__, httpx2.ReadTimeout)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read the seconds that a server asks for: Retry-After (RFC 9110, section 10.2.3) or OpenAI's retry-after-ms."""
    milliseconds, value = _seconds(headers.get("retry-after-ms")), headers.get("retry-after")
    seconds = _seconds(value) if milliseconds is None else milliseconds / 1000
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time.time())
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    # Python reads "inf" and "nan" as numbers.
    return max(0.0, seconds) if isfinite(seconds) else None
