"""Characters that a provider cut in two."""

import re
from typing import Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Halves:
    r"""Join surrogates that were escaped in two chunks ("\ud83d", then "\ude00"), as servers that count in UTF-16 send.

    A lone one is no text: it cannot be written as UTF-8, and would break the log of everybody who reads it.
    """

    def __init__(self) -> None:
        self._held = ""

    def join(self, text: str) -> str:
        if not self._held and not _SURROGATE.search(text):
            return text
        text = self._held + text
        self._held = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return _paired(text.removesuffix(self._held))

    def join_whole(self, text: str) -> str:
        """Join as `join` does, but give nothing at all while a half is held, not even what came before it in its chunk.

        For a stream that is gone on with by its chunks' numbers: a chunk is then either given or not.
        """
        self._held += text
        if "\ud800" <= self._held[-1:] <= "\udbff":
            return ""
        return self.rest()

    def rest(self) -> str:
        rest, self._held = _paired(self._held), ""
        return rest


def _paired(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
