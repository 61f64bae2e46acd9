"""The models that may answer: the one that the environment names, or those of a file (MIDSENTENCE_MODELS).

docs/operations.md, section "Several models", describes the file. `Settings.model_list` gives the list. Servers read it
for the names alone, so a variable that holds a key (`api_key_env`) may be unset there.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args
from urllib.parse import urlsplit

from midsentence.errors import BadSettingsError

Api = Literal["chat", "responses", "demo"]
Takeover = Literal["reattach", "continue", "restart", "fail"]
TakeoverSetting = Literal["auto", "reattach", "continue", "restart", "fail"]

OPENAI_URL = "https://api.openai.com/v1"
# The built-in model, which is asked for by this name and needs no provider.
DEMO = "demo"

# Names stand in URLs, logs and Redis keys, and in JSON without an escape.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,127}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# What only a model of a provider has.
_PROVIDER_KEYS = frozenset({"base_url", "api_key", "api_key_env"})
_FILE_KEYS = frozenset({"models", "fallbacks"})


class SettingNames(NamedTuple):
    """Where the parts of a `ModelSpec` are set, as messages to the operator name it."""

    api_key: str = "OPENAI_API_KEY"
    base_url: str = "OPENAI_BASE_URL"
    model: str = "MIDSENTENCE_MODEL"
    api: str = "MIDSENTENCE_API"


_BY_ENVIRONMENT = SettingNames()


@dataclass(frozen=True)
class ModelSpec:
    """One model: how it is asked, and what is done where it fails."""

    name: str
    """As clients know it."""
    model: str
    """As its provider is asked for it."""
    base_url: str = field(default=OPENAI_URL, repr=False)
    """The provider's address, including /v1. It may contain a password."""
    api_key: str | None = field(default=None, repr=False)
    api_key_env: str | None = None
    """The variable that the file names for the key. Where it is unset, `api_key` is None."""
    api: Api = "chat"
    takeover: TakeoverSetting = "auto"
    think_tags: bool = True
    timeout_seconds: float = 60
    """Seconds without a byte after which an answer fails."""
    fallbacks: tuple[str, ...] = ()
    """The names of the models that are asked, in this order, where this one gives no answer."""
    set_by: SettingNames = _BY_ENVIRONMENT

    def takeover_or(self, best: Takeover) -> Takeover:
        """The setting, or for `auto` the `best` that the model's API can do."""
        return best if self.takeover == "auto" else self.takeover


@dataclass(frozen=True)
class ModelList:
    """All models that may answer. There is at least one, and names are unique."""

    specs: tuple[ModelSpec, ...]

    @property
    def default(self) -> ModelSpec:
        """The model that answers where a message names none."""
        return self.specs[0]

    @property
    def names(self) -> list[str]:
        return [spec.name for spec in self.specs]

    def find(self, name: str) -> ModelSpec | None:
        return next((spec for spec in self.specs if spec.name == name), None)

    def chain(self, name: str) -> list[ModelSpec]:
        """The models to ask for an answer, in order: the named one, then its fallbacks.

        For a name that the list does not have, this is the chain of the default.
        """
        first = self.find(name) or self.default
        names = dict.fromkeys([first.name, *first.fallbacks])
        return [spec for spec in map(self.find, names) if spec is not None]

    def require_keys(self) -> None:
        """Raises BadSettingsError where a variable that the file names for a key is unset."""
        for spec in self.specs:
            if spec.api_key_env is not None and spec.api_key is None:
                raise _refusal(f"the variable {spec.api_key_env} is not set (`api_key_env` of the model {spec.name})")


def check_base_url(address: str) -> None:
    """Raises ValueError with the rest of the sentence "OPENAI_BASE_URL cannot be used: …"."""
    # urlsplit removes line ends and tabs, which an HTTP client refuses.
    if " " in address or not address.isprintable():
        raise ValueError("must not contain spaces and control characters")
    parts = urlsplit(address)
    # `port` raises ValueError for a text that is no port.
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("must be an address that begins with http:// or https://")
    host = parts.hostname.partition("%")[0]
    if ":" in host or re.fullmatch(r"\d+(\.\d+){3}", host):
        ip_address(host)


def read_file(path: str, environment: ModelSpec, variables: Mapping[str, str]) -> ModelList:
    """Read the file. What a model does not set is taken from `environment`, the model of the environment's settings.

    The environment's key belongs to the environment's address, so a model with another address does not get it.

    Raises BadSettingsError with one sentence, which contains no key.
    """
    document = _document(path)
    _check_keys(document, _FILE_KEYS, "the file")
    tables = document.get("models")
    if not isinstance(tables, list) or not tables:
        raise _refusal("the file has no model: begin one with [[models]]")
    specs: list[ModelSpec] = []
    own_fallbacks: set[str] = set()
    for number, table in enumerate(cast("list[object]", tables), start=1):
        if not isinstance(table, dict):
            raise _refusal("`models` must be tables: begin each with [[models]]")
        fields = cast("dict[str, Any]", table)
        spec = _spec(fields, number, environment, variables)
        if any(spec.name == other.name for other in specs):
            raise _refusal(f"`name` {spec.name} is given to two models")
        specs.append(spec)
        if "fallbacks" in fields:
            own_fallbacks.add(spec.name)
    shared = _checked("fallbacks", document.get("fallbacks", []), "the file")
    names = {spec.name for spec in specs}
    _check_fallbacks(shared, names, "the file")
    for spec in specs:
        _check_fallbacks(spec.fallbacks, names - {spec.name}, f"the model {spec.name}")
    return ModelList(
        tuple(
            spec
            if spec.name in own_fallbacks
            else replace(spec, fallbacks=tuple(name for name in shared if name != spec.name))
            for spec in specs
        )
    )


def _document(path: str) -> dict[str, Any]:
    try:
        # Some editors begin a file with a byte order mark, which TOML does not allow.
        return tomllib.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        match error:
            case OSError():
                reason = f"the file cannot be read ({(error.strerror or 'no such file').lower()})"
            case tomllib.TOMLDecodeError():
                # The place alone: the rest of the message may quote the line.
                place = re.search(r"\(at [^()]*\)$", str(error))
                reason = f"the file is not TOML {place[0]}" if place else "the file is not TOML"
            case _:
                reason = "the file is not TOML"
        raise _refusal(reason) from error


def _spec(fields: dict[str, Any], number: int, environment: ModelSpec, variables: Mapping[str, str]) -> ModelSpec:
    """Read one table of the file. The fallbacks of the whole file are not in it yet."""
    name = fields.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refusal(
            f"`name` of model number {number} must be 1 to 128 letters, digits and any of _ . : / @ + - "
            "that begin with a letter or a digit"
        )
    owner = f"the model {name}"
    _check_keys(fields, frozenset(_CHECKS), owner)
    given = {key: _checked(key, value, owner) for key, value in fields.items()}
    is_built_in = name == DEMO and not (_PROVIDER_KEYS | {"model"}) & fields.keys()
    api = given.pop("api", DEMO if is_built_in else environment.api)
    if api == DEMO and (extra := sorted(_PROVIDER_KEYS & given.keys())):
        raise _refusal(f"`{extra[0]}` of {owner} has no meaning: the built-in model has no provider")
    if {"api_key", "api_key_env"} <= given.keys():
        raise _refusal(f"{owner} has both `api_key` and `api_key_env`")
    variable = given.get("api_key_env")
    has_own_address, has_own_key = "base_url" in given, "api_key" in given or variable is not None
    if variable is not None:
        given["api_key"] = variables.get(variable, "").strip() or None
    elif not has_own_key:
        given["api_key"] = None if has_own_address else environment.api_key
    of_file = f"of {name} in MIDSENTENCE_MODELS"
    by_environment = environment.set_by
    own_key = f"`api_key` {of_file}"
    set_by = SettingNames(
        variable or (own_key if has_own_key or has_own_address else by_environment.api_key),
        f"`base_url` {of_file}" if has_own_address else by_environment.base_url,
        f"`model` {of_file}" if "model" in given else f"`name` {of_file}",
        f"`api` {of_file}",
    )
    return replace(environment, **{"model": name, "fallbacks": (), **given, "api": api, "set_by": set_by})


def _check_keys(fields: Mapping[str, object], known: frozenset[str], owner: str) -> None:
    for key in fields:
        if key not in known:
            # Repeated only if it can be a key: in a file with a misplaced quote, it may be the beginning of a secret.
            shown = f"`{key}`" if re.fullmatch("[a-z_]{1,24}", key) else "a key"
            raise _refusal(f"{owner} has {shown} that is none of {', '.join(sorted(known))}")


def _check_fallbacks(fallbacks: Sequence[str], names: set[str], owner: str) -> None:
    for name in fallbacks:
        if name not in names:
            raise _refusal(f"`fallbacks` of {owner} has {name}, which is no other model of the file")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_address(value: object) -> bool:
    try:
        check_base_url(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and isfinite(value)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(name, str) and _NAME.fullmatch(name) for name in cast("list[object]", value)
    )


def _is_variable(value: object) -> bool:
    return isinstance(value, str) and bool(_VARIABLE.fullmatch(value))


def _is_api(value: object) -> bool:
    return value in get_args(Api)


def _is_takeover(value: object) -> bool:
    return value in get_args(TakeoverSetting)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


# Each key of a model: the check, and the rest of the sentence "`key` of the model … must be …".
_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "name": (_is_text, "a text"),
    "model": (_is_text, "a text that is not empty"),
    "base_url": (_is_address, "an address that begins with http:// or https://"),
    "api_key": (_is_text, "a text that is not empty"),
    "api_key_env": (_is_variable, "the name of a variable"),
    "api": (_is_api, f"one of {', '.join(get_args(Api))}"),
    "takeover": (_is_takeover, f"one of {', '.join(get_args(TakeoverSetting))}"),
    "think_tags": (_is_flag, "true or false"),
    "timeout_seconds": (_is_seconds, "a number above 0"),
    "fallbacks": (_is_names, "a list of names of models"),
}


def _checked(key: str, value: object, owner: str) -> Any:
    """Check a value. The sentence of the error does not repeat it: a key may stand in the wrong place."""
    is_right, form = _CHECKS[key]
    if not is_right(value):
        raise _refusal(f"`{key}` of {owner} must be {form}")
    return tuple(cast("list[str]", value)) if isinstance(value, list) else value


def _refusal(reason: str) -> BadSettingsError:
    return BadSettingsError(f"MIDSENTENCE_MODELS cannot be used: {reason}. See docs/operations.md.")
