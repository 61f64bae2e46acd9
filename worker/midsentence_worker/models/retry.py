"""When to send a request again that has not begun to answer. Nothing was written yet, so no text can come twice."""

import time
from email.utils import parsedate_to_datetime
from math import isfinite

import httpx2
import openai

from midsentence_worker.models.errors import InvalidKeyError, StreamStalledError

FIRST_PAUSE_SECONDS = 0.5
_RETRIES = 2
# The reader waits in front of an empty answer. Where the provider asks for a longer pause than this, the turn fails and
# its error says when to ask again.
_LONGEST_PAUSE_SECONDS = 8.0
# Client errors that say "later": a time-out, a conflict with another request, and too many requests.
_BUSY = frozenset({408, 409, 429})


def pause(error: Exception, attempt: int) -> float | None:
    """Seconds to wait before the next try, or None where another try does not help. `attempt` counts from 0."""
    if attempt >= _RETRIES:
        return None
    usual = FIRST_PAUSE_SECONDS * 2**attempt
    refused = refusal(error)
    if refused is not None:
        if refused.status_code not in _BUSY and refused.status_code < 500:
            return None
        if refused.headers.get("x-should-retry") == "false":  # OpenAI sends it when a quota is used up
            return None
        wished = retry_after(refused) or usual
        return wished if wished <= _LONGEST_PAUSE_SECONDS else None
    # A model that was silent for the whole time-out had its time, and an invalid key stays invalid.
    return None if is_stall(error) or isinstance(error, InvalidKeyError) else usual


def refusal(error: Exception) -> httpx2.Response | None:
    """The response that refuses a request.

    Where its body cannot be read, the SDK raises the error of that; the response is in the context of that error.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, openai.APIStatusError | httpx2.HTTPStatusError):
            return seen.response
        seen = seen.__cause__ or seen.__context__
    return None


def is_stall(error: Exception) -> bool:
    """Whether the provider was silent for the whole time-out."""
    return isinstance(error, TimeoutError | StreamStalledError) or isinstance(error.__cause__, httpx2.ReadTimeout)


def retry_after(response: httpx2.Response) -> float | None:
    """Read the seconds that a server asks for: Retry-After (RFC 9110, section 10.2.3) or OpenAI's retry-after-ms."""
    milliseconds, value = response.headers.get("retry-after-ms"), response.headers.get("retry-after")
    try:
        seconds = float(milliseconds) / 1000 if milliseconds is not None else float(value or "")
    except ValueError:
        pass
    else:
        # Python reads "inf" and "nan" as numbers.
        return max(0.0, seconds) if isfinite(seconds) else None
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
