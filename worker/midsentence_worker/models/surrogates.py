"""Characters outside the Basic Multilingual Plane that a provider split between two chunks."""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


class SurrogateJoiner:
    r"""Joins the two surrogates of a character ("\ud83d", then "\ude00") that came in two chunks.

    Servers that count in UTF-16 send them so. A surrogate alone cannot be encoded as UTF-8, so no reader could be sent
    the log that holds one; it becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._held = ""

    @property
    def is_holding(self) -> bool:
        return bool(self._held)

    def join(self, text: str) -> str:
        """The text so far, except for a first surrogate at its end, which is held until the next call."""
        if not self._held and (text.isascii() or not _SURROGATE.search(text)):
            return text
        text = self._held + text
        self._held = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return joined(text.removesuffix(self._held))

    def join_whole_chunks(self, text: str) -> str:
        """Like `join`, but hold the whole chunk that ends with a first surrogate.

        For a stream that is resumed by the number of its last chunk: all of a chunk is returned, or nothing of it.
        """
        self._held += text
        if "\ud800" <= self._held[-1:] <= "\udbff":
            return ""
        return self.flush()

    def flush(self) -> str:
        """The text that is held. Its surrogates that stayed alone are replaced."""
        rest, self._held = joined(self._held), ""
        return rest


def joined(text: str) -> str:
    """The text with its pairs of surrogates joined, and U+FFFD for each that stands alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
