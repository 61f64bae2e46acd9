"""When to send a request again that has not begun to answer. Nothing was written yet, so no text can come twice."""

import time
from email.utils import parsedate_to_datetime

import httpx2
import openai

FIRST_PAUSE_SECONDS = 0.5
_RETRIES = 2
# The reader waits in front of an empty answer. Where the provider asks for a longer pause than this, the turn fails and
# its error says when to ask again.
_LONGEST_PAUSE_SECONDS = 8.0


def pause(error: openai.OpenAIError, attempt: int) -> float | None:
    """Seconds to wait before the next try, or None where another try does not help. `attempt` counts from 0."""
    if attempt >= _RETRIES:
        return None
    usual = FIRST_PAUSE_SECONDS * 2**attempt
    if isinstance(error, openai.APIStatusError):
        if error.status_code != 429 and error.status_code < 500:
            return None
        if error.response.headers.get("x-should-retry") == "false":  # OpenAI sends it when a quota is used up
            return None
        wished = retry_after(error.response) or usual
        return wished if wished <= _LONGEST_PAUSE_SECONDS else None
    # A model that was silent for the whole time-out had its time, and an invalid header (a key with a line break)
    # stays invalid.
    hopeless = httpx2.ReadTimeout | httpx2.LocalProtocolError
    again = isinstance(error, openai.APIConnectionError) and not isinstance(error.__cause__, hopeless)
    return usual if again else None


def retry_after(response: httpx2.Response) -> float | None:
    """Read the seconds that a server asks for: Retry-After (RFC 9110, section 10.2.3) or OpenAI's retry-after-ms."""
    milliseconds, value = response.headers.get("retry-after-ms"), response.headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(0.0, float(milliseconds) / 1000)
        return None if value is None else max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time.time())
    except ValueError:
        return None
