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
        ("MIDSENTENCE_NAMESPACE", "two\nlines"),
        ("MIDSENTENCE_MODEL", "a\tmodel"),
        ("MIDSENTENCE_LEASE_SECONDS", "inf"),
        ("MIDSENTENCE_FLUSH_MS", "nan"),
        ("MIDSENTENCE_SESSION_TTL", "1e300"),
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
        ("OPENAI_BASE_URL", "http://127.0.0.1/v 1"),
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


@pytest.mark.parametrize("around", [" {}", "{} ", "{}\n", "\t{}\r\n", "\u00a0{}"])
def test_white_space_around_a_value_does_not_count(monkeypatch: pytest.MonkeyPatch, around: str) -> None:
    """A value that is read from a file ends with a line end."""
    values = {
        "OPENAI_BASE_URL": "http://127.0.0.1:11434/v1?api-version=1",
        "OPENAI_API_KEY": "sk-abc",
        "MIDSENTENCE_REDIS_URL": "redis://127.0.0.1:6380/1",
        "MIDSENTENCE_LEASE_SECONDS": "7",
        "MIDSENTENCE_DURABLE": "1",
        "MIDSENTENCE_API": "responses",
        "MIDSENTENCE_SECRET": "sixteen letters ok",
        "MIDSENTENCE_SYSTEM_PROMPT": "Two\nlines.",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, around.format(value))
    settings = Settings.load()
    found = (settings.openai_base_url, settings.openai_api_key, settings.redis_url, settings.lease_seconds)
    assert found == (values["OPENAI_BASE_URL"], "sk-abc", values["MIDSENTENCE_REDIS_URL"], 7)
    assert (settings.durable, settings.api, settings.secret) == (True, "responses", values["MIDSENTENCE_SECRET"])
    assert settings.system_prompt == "Two\nlines."


def test_a_variable_of_white_space_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " \n")
    monkeypatch.setenv("MIDSENTENCE_LEASE_SECONDS", "\t")
    assert Settings.load().openai_api_key is None
    assert Settings.load().lease_seconds == 10


@pytest.mark.parametrize("key", ["sk-\nabc", "sk-ключ", "sk-\x7f", "sk-a\tb"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(BadSettingsError, match=r"^OPENAI_API_KEY cannot be used: ") as caught:
        Settings.load().check_models()
    assert "sk-" not in str(caught.value)


def test_a_value_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSENTENCE_SYSTEM_PROMPT", b"caf\xe9".decode("utf-8", "surrogateescape"))
    with pytest.raises(BadSettingsError, match=r"^MIDSENTENCE_SYSTEM_PROMPT cannot be used.*UTF-8"):
        Settings.load()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    settings = Settings.load()
    assert (settings.openai_base_url, settings.is_demo, settings.model_name) == (None, True, "demo")


def test_a_server_offers_the_model_that_is_named_without_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().offered_models == ["demo"]
    monkeypatch.setenv("MIDSENTENCE_MODEL", "large")
    assert Settings.load().offered_models == ["large"]


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
