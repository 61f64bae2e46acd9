"""What `midsentence` says when it is ready: which model answers."""

from pathlib import Path

import pytest

from midsentence.address import Address
from midsentence.launcher.up import announcement
from midsentence.settings import Settings

UNSET = {"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None, "model": None, "models": None}


def second_line(values: dict[str, str]) -> str:
    settings = Settings.model_validate(UNSET | values)
    return announcement(Address("127.0.0.1", "127.0.0.1", 8000), settings, None).splitlines()[2]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"OPENAI_API_KEY": "sk-x"}, "gpt-5-mini answers."),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "model": "qwen"}, "qwen answers."),
    ],
)
def test_announcement_names_the_model_that_answers(values: dict[str, str], line: str) -> None:
    assert second_line(values) == line


def test_announcement_names_the_first_model_of_the_file(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text('[[models]]\nname = "demo"\n[[models]]\nname = "gpt-5"')
    assert second_line({"models": str(models)}) == "demo answers."


def test_announcement_says_how_to_get_a_real_model() -> None:
    assert "The built-in demo answers." in second_line({})
    assert "OPENAI_API_KEY" in second_line({})
