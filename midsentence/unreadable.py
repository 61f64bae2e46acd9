"""The rule for all that is read from Redis: reading never fails.

What cannot be read is passed over, and logged once for each session and place. So one value that a defect, another
version or another program left behind costs itself alone: the rest of the session is read, continued and deleted as
before. An entry of a stored turn counts for what can be read of it. An event that cannot be read keeps its number.

Nothing here is called for values that can be read, the fields of a session's hash apart. No log line contains a value:
it may be the text of a message.
"""

import structlog

# What a decoder raises: malformed JSON, text that is no UTF-8, a value of another type (ValueError), or JSON that is
# nested too deeply.
UNREADABLE = (ValueError, RecursionError)

# So many places are remembered as logged. Beyond that the oldest may be logged again.
_REMEMBERED = 4096
# Beyond this a reader in JavaScript would round a number.
_LONGEST_NUMBER = 15

_logger = structlog.get_logger()
_logged: dict[tuple[str, str], None] = {}


def passed_over(session_id: str, place: str) -> None:
    """Log that something in a session cannot be read, once. `place` says what it is and contains nothing of it."""
    if (session_id, place) in _logged:
        return
    if len(_logged) >= _REMEMBERED:
        del _logged[next(iter(_logged))]
    _logged[session_id, place] = None
    _logger.warning("unreadable_passed_over", session=session_id, place=place)


def read_text(value: bytes | None, session_id: str, place: str) -> str:
    """A text of a session's hash; U+FFFD stands for bytes that are no UTF-8."""
    if value is None:
        passed_over(session_id, place)
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        passed_over(session_id, place)
        return value.decode(errors="replace")


def read_number(value: bytes | None, session_id: str, place: str, default: int = 0) -> int:
    """A count or a time of a session's hash."""
    if value is not None and value.isdigit() and len(value) <= _LONGEST_NUMBER:
        return int(value)
    passed_over(session_id, place)
    return default
