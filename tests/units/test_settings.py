"""Every setting is documented, and an invalid one is refused by name."""

from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from midsentence.errors import BadSettingsError
from midsentence.settings import PREFIX, Settings

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def variable(name: str) -> str:
    return name.upper() if name.startswith("openai_") else PREFIX + name.upper()


def row(name: str, field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, bool):
        default = int(default)
    shown = "" if default in (None, "", ()) else f"`{default}`"
    return f"| `{variable(name)}` | {shown} | {field.description} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    assert row(name, Settings.model_fields[name]) in OPERATIONS.read_text().splitlines()


def test_every_documented_setting_exists() -> None:
    table = OPERATIONS.read_text().partition("## Settings")[2].partition("\n## ")[0]
    documented = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert documented == {variable(name) for name in Settings.model_fields}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MIDSENTENCE_REDIS_URL", "http://127.0.0.1"),
        ("MIDSENTENCE_NAMESPACE", "a{b}"),
        ("MIDSENTENCE_NAMESPACE", "two words"),
        ("MIDSENTENCE_NAMESPACE", "n" * 65),
        ("MIDSENTENCE_NAMESPACE", "line\n"),
        ("MIDSENTENCE_LEASE_SECONDS", "soon"),
        ("MIDSENTENCE_LEASE_SECONDS", "0"),
        ("MIDSENTENCE_PING_SECONDS", "15.5"),
        ("MIDSENTENCE_PARTITIONS", "257"),
        ("MIDSENTENCE_WORKER_CONCURRENCY", "-1"),
        ("MIDSENTENCE_DURABLE", "perhaps"),
        ("MIDSENTENCE_LOG_LEVEL", "loud"),
        ("MIDSENTENCE_SECRET", "short"),
        ("OPENAI_BASE_URL", "localhost:11434"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:99999/v1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1/v1 "),
        ("OPENAI_BASE_URL", "http://127.0.0.256/v1"),
    ],
)
def test_an_invalid_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingsError) as caught:
        Settings.load()
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} cannot be used")
    assert (repr(value)[1:-1] in sentence) == (name != "MIDSENTENCE_SECRET")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    settings = Settings.load()
    assert (settings.openai_base_url, settings.is_demo, settings.model_name) == (None, True, "demo")


def test_a_title_model_is_one_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in model cannot: it writes about midsentence, whatever it is asked."""
    monkeypatch.setenv("MIDSENTENCE_TITLE_MODEL", "demo")
    with pytest.raises(BadSettingsError, match=r"^MIDSENTENCE_TITLE_MODEL cannot be used \(it is 'demo'\): .*none"):
        Settings.load().check_models()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")
    monkeypatch.setenv("MIDSENTENCE_MODEL", "large")
    monkeypatch.setenv("MIDSENTENCE_TITLE_MODEL", "another")
    with pytest.raises(BadSettingsError, match=r"^MIDSENTENCE_TITLE_MODEL cannot be used \(it is 'another'\): .*large"):
        Settings.load().check_models()
    monkeypatch.setenv("MIDSENTENCE_TITLE_MODEL", "large")
    Settings.load().check_models()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.model_validate({}).push = True
