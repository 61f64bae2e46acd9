"""A body that is no event stream: the bytes of a response, kept until its first event comes."""

# Of a body that is no JSON only the first words are quoted.
_LONGEST_WORDS = 4096


class PlainBody:
    def __init__(self, longest: int) -> None:
        """`longest` bounds what is kept of JSON, in bytes."""
        self._longest = longest
        self._content = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._content)

    def add(self, data: bytes) -> None:
        content = self._content
        content += data
        if not content[:256].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
            del content[_LONGEST_WORDS:]
        elif len(content) > self._longest:
            content.clear()
