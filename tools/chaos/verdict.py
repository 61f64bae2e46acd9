"""What is wrong with an answer, if anything: compared with what the model wrote for it."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from tools.chaos.attempts import TAG, Attempt

Wrong = Literal["mismatch", "duplicate", "hole", "stuck"]


class Finding(NamedTuple):
    wrong: Wrong
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.wrong}: {self.where}: {self.what}"


def judge(where: str, text: str, attempts: Sequence[Attempt], *, whole: bool) -> list[Finding]:
    """Hold an answer against the attempts at it: all of one of them, or, where it was stopped, the beginning of one."""
    tags = [(int(number), int(place)) for number, place in TAG.findall(text)]
    if not tags and not text and not whole:
        return []
    numbers = sorted({number for number, _ in tags})
    mine = [attempt for attempt in attempts if [attempt.number] == numbers]
    if not mine:
        return [Finding("mismatch", where, f"of the attempts {numbers}, and those asked for do not write {text!r}")]
    places, tokens = [place for _, place in tags], mine[0].tokens
    twice = [place for place, count in Counter(places).items() if count > 1]
    missing = set(range(len(tokens) if whole else max(places))) - set(places)
    found: list[Finding] = []
    if twice:
        found.append(Finding("duplicate", where, f"tokens {sorted(twice)} of attempt {numbers[0]} twice"))
    if missing:
        found.append(Finding("hole", where, f"without tokens {sorted(missing)} of {len(tokens)} of {numbers[0]}"))
    if not found and text != "".join(tokens[: len(places)]):
        found.append(Finding("mismatch", where, f"not as attempt {numbers[0]} wrote it: {text!r}"))
    if not found and whole and not any(attempt.is_whole for attempt in mine):
        found.append(Finding("mismatch", where, f"ended well, and attempt {numbers[0]} was never written to its end"))
    return found
