"""What a command line of scripts/bench measures, and when it replaces what is published."""

import sys

import pytest

from bench.__main__ import plan


@pytest.mark.parametrize(
    ("arguments", "is_published"),
    [
        ("", True),
        ("--only house", False),
        ("--only house --publish", True),
        ("--quick", False),
        ("--contenders midsentence", False),
    ],
)
def test_only_a_whole_run_is_published_without_being_asked_to(
    arguments: str, is_published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["scripts/bench", *arguments.split()])
    assert plan().publish is is_published


@pytest.mark.parametrize("less", ["--quick", "--contenders midsentence"])
def test_incomplete_measurement_is_not_published(
    less: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scripts/bench", *less.split(), "--publish"])
    with pytest.raises(SystemExit):
        plan()
    assert "--publish needs all contenders" in capsys.readouterr().err
