"""The list of models: what the file of MIDSENTENCE_MODELS sets, and how a file that cannot be used is refused."""

import re
from pathlib import Path

import pytest

from midsentence.errors import BadSettingsError
from midsentence.model_list import OPENAI_URL, ModelList, ModelSpec
from midsentence.settings import Settings

KEY = "sk-secret-of-the-file"
ENVIRONMENT_KEY = "sk-secret-of-the-environment"
VARIABLES = (
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "MIDSENTENCE_MODEL", "MIDSENTENCE_MODELS", "MIDSENTENCE_API"),
    *("MIDSENTENCE_TAKEOVER", "MIDSENTENCE_THINK_TAGS", "MIDSENTENCE_MODEL_TIMEOUT_SECONDS", "LARGE_KEY"),
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "models.toml"
    monkeypatch.setenv("MIDSENTENCE_MODELS", str(path))
    return path


def listed(file: Path, text: str) -> ModelList:
    file.write_text(text, "utf-8")
    return Settings.load().model_list


def only(file: Path, text: str) -> ModelSpec:
    (spec,) = listed(file, text).specs
    return spec


def refusal(file: Path, text: str) -> str:
    with pytest.raises(BadSettingsError) as caught:
        listed(file, text)
    return str(caught.value)


def test_without_a_file_the_list_has_the_model_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://model/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MIDSENTENCE_MODEL", "qwen")
    monkeypatch.setenv("MIDSENTENCE_API", "responses")
    monkeypatch.setenv("MIDSENTENCE_TAKEOVER", "continue")
    assert Settings.load().model_list.specs == (
        ModelSpec("qwen", "qwen", "http://model/v1", KEY, api="responses", takeover="continue"),
    )


def test_without_any_setting_the_built_in_model_answers() -> None:
    default = Settings.load().model_list.default
    assert (default.name, default.api) == ("demo", "demo")


def test_file_sets_every_part_of_a_model(file: Path) -> None:
    spec, _ = listed(
        file,
        f"""
        [[models]]
        name = "large"
        model = "gpt-5"
        base_url = "https://a/v1"
        api_key = "{KEY}"
        api = "responses"
        takeover = "fail"
        think_tags = false
        timeout_seconds = 7.5
        fallbacks = ["small"]
        [[models]]
        name = "small"
        """,
    ).specs
    assert (spec.name, spec.model, spec.base_url, spec.api_key) == ("large", "gpt-5", "https://a/v1", KEY)
    assert (spec.api, spec.takeover, spec.think_tags, spec.timeout_seconds) == ("responses", "fail", False, 7.5)
    assert spec.fallbacks == ("small",)


def test_unset_parts_come_from_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OPENAI_BASE_URL": "http://model/v1",
        "OPENAI_API_KEY": KEY,
        "MIDSENTENCE_API": "responses",
        "MIDSENTENCE_TAKEOVER": "restart",
        "MIDSENTENCE_THINK_TAGS": "0",
        "MIDSENTENCE_MODEL_TIMEOUT_SECONDS": "3",
    }.items():
        monkeypatch.setenv(name, value)
    spec = only(file, '[[models]]\nname = "one"')
    assert (spec.model, spec.base_url, spec.api_key, spec.api) == ("one", "http://model/v1", KEY, "responses")
    assert (spec.takeover, spec.think_tags, spec.timeout_seconds, spec.fallbacks) == ("restart", False, 3, ())


def test_without_an_address_a_model_is_openais(file: Path) -> None:
    assert only(file, '[[models]]\nname = "gpt-5"').base_url == OPENAI_URL


def test_key_of_the_environment_is_not_given_to_another_address(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", ENVIRONMENT_KEY)
    assert only(file, '[[models]]\nname = "one"\nbase_url = "https://another/v1"').api_key is None
    assert only(file, '[[models]]\nname = "one"').api_key == ENVIRONMENT_KEY


def test_key_may_come_from_a_variable_that_the_file_names(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARGE_KEY", KEY)
    assert only(file, '[[models]]\nname = "one"\napi_key_env = "LARGE_KEY"').api_key == KEY


@pytest.mark.parametrize("value", [None, "", " "])
def test_unset_variable_of_a_key_is_refused_only_where_keys_are_needed(
    file: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", ENVIRONMENT_KEY)
    if value is not None:
        monkeypatch.setenv("LARGE_KEY", value)
    models = listed(file, '[[models]]\nname = "large"\napi_key_env = "LARGE_KEY"')
    assert models.default.api_key is None
    with pytest.raises(BadSettingsError, match=r"variable LARGE_KEY is not set .* of the model large"):
        models.require_keys()


@pytest.mark.parametrize(
    ("table", "api"),
    [
        ('name = "demo"', "demo"),
        ('name = "demo"\ntakeover = "restart"', "demo"),
        ('name = "built-in"\napi = "demo"', "demo"),
        ('name = "demo"\napi = "chat"', "chat"),
        ('name = "demo"\nbase_url = "http://model/v1"', "chat"),
        ('name = "demo"\nmodel = "gpt-5"', "chat"),
    ],
)
def test_built_in_model_is_named_demo_or_has_its_api(file: Path, table: str, api: str) -> None:
    assert only(file, f"[[models]]\n{table}").api == api


def test_fallbacks_of_the_file_are_those_of_models_that_name_none(file: Path) -> None:
    models = listed(
        file,
        """
        fallbacks = ["b", "c"]
        [[models]]
        name = "a"
        [[models]]
        name = "b"
        [[models]]
        name = "c"
        fallbacks = []
        [[models]]
        name = "d"
        fallbacks = ["a", "a", "b"]
        """,
    )
    chains = {name: [spec.name for spec in models.chain(name)] for name in models.names}
    assert chains == {"a": ["a", "b", "c"], "b": ["b", "c"], "c": ["c"], "d": ["d", "a", "b"]}
    assert models.chain("unknown") == models.chain("a")


def test_file_may_begin_with_a_byte_order_mark(file: Path) -> None:
    assert only(file, '\ufeff[[models]]\nname = "one"').name == "one"


ONE = '[[models]]\nname = "one"\n'
BAD_FILES = {
    "empty": ("", "no model"),
    "no model": ('fallbacks = ["a"]', "no model"),
    "no table": ("models = []", "no model"),
    "models of another type": ("models = [1]", "must be tables"),
    "not TOML": (f'[[models]]\nname = "one"\napi_key = {KEY}', "not TOML (at line 3, column"),
    "cut off": (f'[[models]]\nname = "one"\napi_key = "{KEY}', "not TOML (at"),
    "deep": ("a = " + "[" * 5000, "not TOML"),
    "unknown key of the file": (f"{ONE}[provider]\nkey = 1", "the file has `provider`"),
    "unknown key of a model": (f"{ONE}keys = 1", "the model one has `keys`"),
    "a secret in the place of a key": (f'{ONE}"{KEY}" = "api_key"', "the model one has a key"),
    "no name": ('[[models]]\nmodel = "one"', "`name` of model number 1"),
    "empty name": ('[[models]]\nname = ""', "`name` of model number 1"),
    "name of another type": ("[[models]]\nname = 5", "`name` of model number 1"),
    "name with a space": (f'{ONE}[[models]]\nname = "a b"', "`name` of model number 2"),
    "name with a quote": ("[[models]]\nname = 'a\"b'", "`name` of model number 1"),
    "name that ends a line": ('[[models]]\nname = "one\\n"', "`name` of model number 1"),
    "name that begins with a dot": ('[[models]]\nname = ".one"', "`name` of model number 1"),
    "name outside ASCII": ('[[models]]\nname = "модель"', "`name` of model number 1"),
    "long name": (f'[[models]]\nname = "{"n" * 129}"', "`name` of model number 1"),
    "name twice": (ONE + ONE, "`name` one is given to two models"),
    "empty model": (f'{ONE}model = " "', "`model` of the model one"),
    "address without a scheme": (f'{ONE}base_url = "localhost:11434"', "`base_url` of the model one"),
    "address with a password": (f'{ONE}base_url = "ftp://me:{KEY}@a/v1"', "`base_url` of the model one"),
    "address with no port": (f'{ONE}base_url = "http://a:port/v1"', "`base_url` of the model one"),
    "address with a bracket": (f'{ONE}base_url = "http://[a/v1"', "`base_url` of the model one"),
    "address with a line end": (f'{ONE}base_url = "http://a/v1\\n"', "`base_url` of the model one"),
    "address with a space": (f'{ONE}base_url = "http://a b/v1"', "`base_url` of the model one"),
    "address with an impossible number": (f'{ONE}base_url = "http://1.2.3.999/v1"', "`base_url` of the model one"),
    "address with an impossible IPv6": (f'{ONE}base_url = "http://[::g]/v1"', "`base_url` of the model one"),
    "empty key": (f'{ONE}api_key = ""', "`api_key` of the model one"),
    "key of another type": (f"{ONE}api_key = 5", "`api_key` of the model one"),
    "key in the place of a variable": (f'{ONE}api_key_env = "{KEY}"', "`api_key_env` of the model one"),
    "two keys": (f'{ONE}api_key = "{KEY}"\napi_key_env = "LARGE_KEY"', "both `api_key` and `api_key_env`"),
    "unknown API": (f'{ONE}api = "{KEY}"', "`api` of the model one must be one of chat, responses, demo"),
    "unknown takeover": (f'{ONE}takeover = "{KEY}"', "`takeover` of the model one must be one of auto"),
    "think_tags as a number": (f"{ONE}think_tags = 1", "`think_tags` of the model one must be true or false"),
    "no time-out": (f"{ONE}timeout_seconds = 0", "`timeout_seconds` of the model one"),
    "endless time-out": (f"{ONE}timeout_seconds = inf", "`timeout_seconds` of the model one"),
    "time-out as a flag": (f"{ONE}timeout_seconds = true", "`timeout_seconds` of the model one"),
    "fallback as a text": (f'{ONE}fallbacks = "two"', "`fallbacks` of the model one"),
    "fallback of another type": (f"{ONE}fallbacks = [1]", "`fallbacks` of the model one"),
    "unknown fallback": (f'{ONE}fallbacks = ["two"]', "`fallbacks` of the model one has two"),
    "fallback on itself": (f'{ONE}fallbacks = ["one"]', "`fallbacks` of the model one has one"),
    "unknown fallback of the file": (f'fallbacks = ["two"]\n{ONE}', "`fallbacks` of the file has two"),
    "fallbacks of the file as a text": (f'fallbacks = "one"\n{ONE}', "`fallbacks` of the file"),
    "built-in model with a key": (f'{ONE}api = "demo"\napi_key = "{KEY}"', "`api_key` of the model one"),
}


@pytest.mark.parametrize(("text", "part"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_cannot_be_used_is_refused_with_one_sentence(file: Path, text: str, part: str) -> None:
    sentence = refusal(file, text)
    assert sentence.startswith("MIDSENTENCE_MODELS cannot be used: ")
    assert part in sentence
    assert KEY not in sentence
    assert "\n" not in sentence
    assert sentence.endswith(". See docs/operations.md.")


def test_a_file_that_is_missing_or_not_a_text_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettingsError, match="cannot be read \\(no such file or directory\\)"):
        Settings.load()
    file.write_bytes(b"\xff\xfe[[models]]")
    with pytest.raises(BadSettingsError, match="not TOML"):
        Settings.load()
    monkeypatch.setenv("MIDSENTENCE_MODELS", str(file.parent))
    with pytest.raises(BadSettingsError, match="cannot be read \\(is a directory\\)"):
        Settings.load()


def test_one_model_beside_the_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSENTENCE_MODEL", "gpt-5")
    assert "beside MIDSENTENCE_MODEL" in refusal(file, ONE)


def test_a_list_shows_no_secret_where_it_is_printed(file: Path) -> None:
    models = listed(file, f'{ONE}base_url = "https://me:{KEY}@a/v1"\napi_key = "{KEY}"')
    assert KEY not in repr(models)


def test_takeover_of_a_model_is_its_setting_or_the_best(file: Path) -> None:
    assert only(file, f'{ONE}takeover = "fail"').takeover_or("reattach") == "fail"
    assert only(file, ONE).takeover_or("reattach") == "reattach"


def examples() -> list[str]:
    """The files that the documents and the deployment show."""
    root = Path(__file__).parents[2]
    documents = (root / "docs" / "operations.md").read_text()
    shown = re.findall(r"^```toml\n(.*?)^```", documents, re.MULTILINE | re.DOTALL)
    return [*shown, (root / "deploy" / "models" / "example.toml").read_text()]


@pytest.mark.parametrize("text", examples())
def test_examples_can_be_used(file: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    models = listed(file, text)
    models.require_keys()
    assert [spec.name for spec in models.chain("large")] == ["large", "small"]
