"""The text of a token: its number in the answer and the time of its sending, as long as a group of real tokens."""

import re
import time

# Every contender is given the same bytes. JSON escapes none of them, and no protocol treats them specially.
WIDTH = 28
TOKEN = re.compile(rb"~(\d+)\.(\d+);")
WHOLE = re.compile(rb"~(\d+)\.(\d+);x*")


def token(seq: int) -> bytes:
    return (b"~%d.%d;" % (seq, time.monotonic_ns())).ljust(WIDTH, b"x")


def numbers(text: bytes) -> list[int] | None:
    """The numbers of the tokens that this text consists of, or None if it has anything else."""
    found: list[int] = []
    at = 0
    while at < len(text):
        match = WHOLE.match(text, at)
        if match is None or match.end() - at != WIDTH:
            return None
        found.append(int(match[1]))
        at = match.end()
    return found
