"""Short runs of the program behind `scripts/healing`."""

from pathlib import Path

import pytest

from tools.healing.run import Mode, Options, run

TURNS = 60


@pytest.mark.timeout(150)
@pytest.mark.parametrize("mode", ["restart", "continue", "reattach"])
def test_turns_whose_streams_are_cut_end_with_whole_texts(tmp_path: Path, mode: Mode) -> None:
    """Every third stream is cut at a random byte, and every answer is what the provider wrote for it."""
    outcome = run(Options(TURNS, mode, every=3, seed=1, at_once=20), tmp_path, print)
    assert [turn for turn in outcome.turns if turn.end != "stop" or turn.violations] == []
    assert len(outcome.turns) == TURNS
    # Each cut makes another stream necessary, of which a third is cut again.
    assert outcome.cuts.total() >= TURNS / 3, "too few streams were cut"
    if mode == "reattach":
        assert outcome.written_again == 0
