"""When to ask a model again that has not begun to answer. Nothing was written yet, so no answer can be doubled."""

import time
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2
import openai

RETRIES: Final = 2
FIRST_PAUSE_SECONDS: Final = 0.5
# Whoever asked sits in front of an empty answer: rather say when to come back than wait longer than this.
LONGEST_PAUSE_SECONDS: Final = 8.0


def pause(error: openai.OpenAIError, attempt: int) -> float | None:
    """Seconds until it is worth asking again after this attempt (0 is the first), None where it is not."""
    if attempt >= RETRIES:
        return None
    usual = FIRST_PAUSE_SECONDS * 2**attempt
    if isinstance(error, openai.APIStatusError):
        if error.status_code != 429 and error.status_code < 500:
            return None
        if error.response.headers.get("x-should-retry") == "false":  # OpenAI says so of a quota that is spent
            return None
        wished = retry_after(error.response) or usual
        return wished if wished <= LONGEST_PAUSE_SECONDS else None
    # A model that was silent for as long as it may be has had its time, and a header that is not one stays so.
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
