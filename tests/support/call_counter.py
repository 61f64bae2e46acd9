"""Count the calls of Python and C functions: a cost that does not depend on the machine's load."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class CallCounter:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.count += event in ("call", "c_call")


@contextmanager
def count_calls() -> Generator[CallCounter]:
    calls = CallCounter()
    sys.setprofile(calls)
    try:
        yield calls
    finally:
        sys.setprofile(None)
