"""Answers of twenty thousand tokens, each of one shape: their structure slows a page more than their length."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

# Four characters are about one token.
TOKENS: Final = 20_000
CHARACTERS: Final = 76_000

_ENGLISH: Final = "The relay keeps what it sent, so who comes back hears the rest, and *nothing* is lost on the way. "
_CHINESE: Final = "读者断线之后重新连接，服务器从断开的地方继续发送。**注意：**请不要重复提问，因为答案还在写。"


def _mixed(number: int) -> str:
    return (
        f"## Part {number}\n\n{_ENGLISH * 2}\n\n{_CHINESE}\n\n1. one\n2. two\n3. three\n\n"
        f"```python\ndef f{number}(x: int) -> int:\n    return x * {number}\n```\n\n"
        f"| a | b |\n|---|---|\n| {number} | \\(x_{{{number}}}^2\\) |\n\n"
    )


def _item(number: int) -> str:
    return f"- item {number} says **something** about `x{number}`\n"


def _line(number: int) -> str:
    return f'export const value{number}: number = compute({number}, "text"); // line {number}\n'


def _row(number: int) -> str:
    return f"| {number} | row *{number}* | 第 {number} 行 |\n"


def _sentence(number: int) -> str:
    return _CHINESE if number % 3 == 2 else _ENGLISH


def _grown(part: Callable[[int], str], head: str = "") -> str:
    text = head
    for number in count():
        if len(text) >= CHARACTERS:
            return text
        text += part(number)
    raise AssertionError


SHAPES: Final[Mapping[str, str]] = {
    "mixed text": _grown(_mixed),
    "one list": _grown(_item),
    "one fence": _grown(_line, "```ts\n"),
    "one table": _grown(_row, "| n | what | 说明 |\n|--:|:--|---|\n"),
    "one paragraph": _grown(_sentence),
}


def tokens(text: str) -> list[str]:
    """Split a text into pieces of ten tokens, since no clock ticks evenly a thousand times a second."""
    size = 10 * CHARACTERS // TOKENS
    return [text[at : at + size] for at in range(0, len(text), size)]
