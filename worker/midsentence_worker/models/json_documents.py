"""Fields of a provider's JSON, each of which may be missing, null or of another type than its documentation says."""

import codecs
import json
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

# What decoding raises: malformed JSON or text that is not UTF-8 (ValueError), or JSON that is nested too deeply.
UNREADABLE = (ValueError, RecursionError)

# No model's context is that long. Larger numbers are defects, and beyond 2**53 a reader in JavaScript would round them.
_MOST_TOKENS = 10**9
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_LETTERS = re.compile(r"[\W_]+")
# Control characters in strings are no JSON, but some servers send them.
_decoder = json.JSONDecoder(strict=False)


def parse(data: bytes) -> Any:
    """Parse JSON as Python does: lone surrogates, NaN and Infinity are values too. Raises UNREADABLE.

    Bytes that are no UTF-8 are U+FFFD.
    """
    return _decoder.decode(data.decode("utf-8-sig", errors="replace"))


def stripped(data: bytes) -> bytes:
    """The data without the white space around it, a byte order mark, and the name of its field.

    Some proxies wrap an event into an event: `data: data: {}`.
    """
    data = data.strip().removeprefix(codecs.BOM_UTF8)
    while data.startswith(b"data:"):
        data = data.removeprefix(b"data:").strip()
    return data


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if is_object(value) else {}


def array(value: object) -> list[Any]:
    """The value if it is an array, else an empty one."""
    return value if is_array(value) else []


def string(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """The value if it can be a number of tokens: a whole number of 0 or more. In Python True is an integer too."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None


def word(value: object) -> str:
    """A constant in one spelling: `MaxTokens`, `MAX_TOKENS` and `max-tokens` are `max_tokens`. No string is empty."""
    return _NO_LETTERS.sub("_", _CAMEL_CASE.sub("_", string(value)[:100])).strip("_").lower()
