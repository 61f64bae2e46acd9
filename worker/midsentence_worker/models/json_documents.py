"""Fields of a provider's JSON, each of which may be missing, null or of another type than its documentation says."""

import json
from collections.abc import Mapping
from typing import Any, cast

# What decoding raises: malformed JSON or text that is not UTF-8 (ValueError), or JSON that is nested too deeply.
UNREADABLE = (ValueError, RecursionError)


def parse(data: bytes) -> Any:
    """Parse JSON as Python does: lone surrogates, NaN and Infinity are values too. Raises UNREADABLE."""
    return json.loads(data.decode())


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def array(value: object) -> list[Any]:
    """The value if it is an array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def string(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """The value if it can be a number of tokens: an integer of 0 or more. In Python True is an integer too."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
