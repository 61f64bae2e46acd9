"""Find the tokens in the bytes of a socket, whatever the protocol."""

from array import array

from bench.tokens import TOKEN, WIDTH


class Tally:
    """The counts of all readers. `delays` are nanoseconds from a token's stamp to its reader."""

    def __init__(self) -> None:
        self.delays = array("q")
        self.missing = 0
        self.duplicates = 0


class Scan:
    """One reader's tokens. Numbers must rise by one: a gap means missing tokens, a step back a duplicate."""

    __slots__ = ("expected", "tail")

    def __init__(self) -> None:
        self.expected = 0
        self.tail = b""

    def feed(self, data: bytes, now: int, tally: Tally) -> None:
        if self.tail:
            data = self.tail + data
            self.tail = b""
        expected = self.expected
        delays = tally.delays
        for digits, stamp in TOKEN.findall(data):
            seq = int(digits)
            if seq != expected:
                if seq < expected:
                    tally.duplicates += 1
                    continue
                tally.missing += seq - expected
            expected = seq + 1
            delays.append(now - int(stamp))
        self.expected = expected
        # Only a token without its semicolon can continue in the next read.
        cut = data.rfind(b"~", -WIDTH)
        if cut >= 0 and data.find(b";", cut) < 0:
            self.tail = data[cut:]
