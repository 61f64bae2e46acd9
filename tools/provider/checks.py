"""Check an answer against what the provider wrote for it."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from tools.provider.record import TAG, Attempt

ViolationKind = Literal["mismatch", "duplicate", "hole", "stuck", "error"]


class Violation(NamedTuple):
    kind: ViolationKind
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.detail}"


def check_answer(where: str, text: str, attempts: Sequence[Attempt], *, whole: bool) -> list[Violation]:
    """Compare an answer with its attempts: it must be all of one, or, unless it is `whole`, the beginning of one.

    Requests that continue an attempt belong to it, and each of its tokens must have been written for one of them.
    """
    tags = [(int(number), int(position)) for number, position in TAG.findall(text)]
    if not tags and not text and not whole:
        return []
    numbers = sorted({number for number, _ in tags})
    written = [attempt for attempt in attempts if [attempt.number] == numbers]
    if not written:
        return [
            Violation("mismatch", where, f"tokens of the attempts {numbers}, not of one that was asked for: {text!r}")
        ]
    positions, tokens = [position for _, position in tags], written[0].tokens
    repeated = [position for position, count in Counter(positions).items() if count > 1]
    missing = set(range(len(tokens) if whole else max(positions))) - set(positions)
    violations: list[Violation] = []
    if repeated:
        violations.append(Violation("duplicate", where, f"tokens {sorted(repeated)} of attempt {numbers[0]} twice"))
    if missing:
        violations.append(
            Violation("hole", where, f"without tokens {sorted(missing)} of {len(tokens)} of {numbers[0]}")
        )
    if not violations and text != "".join(tokens[: len(positions)]):
        violations.append(Violation("mismatch", where, f"not as attempt {numbers[0]} wrote it: {text!r}"))
    unwritten = set(positions) - {number for attempt in written for number in attempt.positions}
    if not violations and unwritten:
        violations.append(
            Violation("mismatch", where, f"tokens {sorted(unwritten)} of attempt {numbers[0]} before they were written")
        )
    if not violations and whole and not any(attempt.is_whole for attempt in written):
        violations.append(
            Violation("mismatch", where, f"complete, though attempt {numbers[0]} was never written to its end")
        )
    return violations
