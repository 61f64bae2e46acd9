"""All settings. Each is an environment variable; a test keeps the list in `docs/operations.md` complete."""

import os
import re
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from midsentence import environment, model_list
from midsentence.errors import BadSettingsError
from midsentence.model_list import ModelList, ModelSpec, TakeoverSetting
from midsentence.redis_url import RedisUrl

PREFIX = "MIDSENTENCE_"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

# Redis takes milliseconds as 64-bit integers.
Seconds = Annotated[float, Field(gt=0, le=1e10, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """The settings of one process. `load()` reads them from the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    # The log
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Address of the log: a Redis, the primary of some sentinels, or a cluster; see the section Redis.",
    )
    redis_timeout_seconds: Seconds = Field(
        5, description="Seconds that one command may take before Redis counts as unreachable."
    )
    namespace: str = Field(
        "ms",
        description="First part of every key and channel in Redis. Deployments with different ones can share a Redis; "
        "see the section Redis.",
    )
    # With fewer, masters of a cluster differ more: 16 make one of three masters 12 % busier than the average, 64 make
    # it 3 %. More cost more: once a second, each worker runs a script for each of them.
    partitions: int = Field(
        64,
        ge=1,
        le=256,
        description="Number of hash tags over which new sessions spread, best a power of two. It must be the same on "
        "every process; to change it, see the section Redis.",
    )
    session_ttl: Seconds = Field(
        30 * 86400, description="Seconds that a session is kept after its last message or the last end of an answer."
    )
    replay_seconds: Seconds = Field(
        300,
        description="Seconds after a session's last end during which readers resume event by event; then by snapshot.",
    )
    replay_events: Count = Field(
        400, description="A reader that is more than this many events behind gets the snapshot."
    )
    allow_eviction: bool = Field(
        False, description="1: accept a Redis that removes keys, and so conversations, when its memory is full."
    )
    durable: bool = Field(False, description="1: answer a POST only after the append-only file is on disk (WAITAOF).")
    queue_limit: Count = Field(8, description="Number of messages that may wait in one session while a turn runs.")

    # The server
    secret: str | None = Field(
        None,
        min_length=16,
        description="Key of 16 characters or more for the owner's cookie. If unset, one is made and kept in Redis.",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins, separated by commas, that may send POST, PATCH and DELETE besides the server's own."
    )
    max_body_bytes: Count = Field(1_048_576, description="Largest body of a request, in bytes.")
    max_text_chars: Count = Field(100_000, description="Longest message, in characters.")
    push: bool = Field(
        False, description="1: serve GET /push. A forged link can trigger a paid model call, so keep it off in public."
    )
    # The protocol promises a ping at least every 15 s; clients reconnect after a longer silence.
    ping_seconds: Annotated[float, Field(gt=0, le=15)] = Field(
        15, description="Seconds of silence on a stream after which the server sends `ping`; 15 at most."
    )
    stuck_reader_seconds: Seconds = Field(
        30,
        description="Seconds without progress after which a reader is disconnected; it can reconnect with its cursor.",
    )
    drain_seconds: Seconds = Field(20, description="Seconds that a process may take to finish its work after SIGTERM.")

    # The worker
    openai_api_key: str | None = Field(
        None, validation_alias=AliasChoices("OPENAI_API_KEY"), description="Key for the model's provider."
    )
    openai_base_url: str | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_BASE_URL"),
        description="Address of an OpenAI-compatible server, including /v1.",
    )
    model: str | None = Field(
        None,
        description="Name of the model. If unset: gpt-5-mini, or `demo` if neither key nor address is set.",
    )
    models: str | None = Field(
        None, description="Path of a file that names several models; see the section Several models."
    )
    system_prompt: str = Field("", description="Text that is sent before every conversation and never trimmed.")
    context_tokens: Count = Field(
        8000,
        description="Budget, in estimated tokens, of what is sent to the model; the oldest turns are left out first.",
    )
    title_model: str | None = Field(
        None,
        description="Name of the model that titles a session after its first answer. If unset, the title stays the "
        "beginning of the first message.",
    )
    model_timeout_seconds: Seconds = Field(
        60, description="Seconds without a byte from the model after which the answer fails."
    )
    worker_concurrency: Count = Field(64, description="Number of turns that one worker runs at once.")
    flush_ms: float = Field(
        25,
        ge=0,
        allow_inf_nan=False,
        description="Milliseconds during which a worker collects tokens and then appends them together.",
    )
    lease_seconds: Seconds = Field(
        10, description="Seconds without a renewal after which a worker loses its turns to another."
    )
    api: Literal["chat", "responses"] = Field(
        "chat", description="How the model is called: chat completions, or OpenAI Responses in background mode."
    )
    think_tags: bool = Field(
        True, description="0: show `<think>…</think>` at the beginning of an answer as text, and not as reasoning."
    )
    takeover: TakeoverSetting = Field(
        "auto",
        description="How a worker takes over from a dead one; auto: reattach for responses, restart for chat.",
    )
    max_attempts: Count = Field(
        5, description="Number of workers that may die while they run one turn; then it ends with an error."
    )

    breaker_failures: int = Field(
        5,
        ge=0,
        description="Number of failures in a row, among all workers, after which a model is not asked for a time. "
        "0: ask it always.",
    )
    breaker_seconds: Seconds = Field(
        5, description="Seconds for which it is not asked then; each failed probe doubles them, up to a minute."
    )
    heal_attempts: Annotated[int, Field(ge=0)] = Field(
        10, description="How often an answer that broke off is taken up again; 0: a break ends the turn."
    )
    heal_tokens: Annotated[int, Field(ge=0)] = Field(
        100_000, description="Tokens, estimated, of one turn that may be paid for again while its answer is taken up."
    )
    heal_pause_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        30,
        description="Longest pause before a broken answer is taken up again; a provider that asks for a longer one "
        "(Retry-After) is not asked again.",
    )

    # All
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest severity that is logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_spaces(cls, values: dict[str, object]) -> dict[str, object]:
        """Take white space from both ends: a value that is read from a file ends with a line end."""
        stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
        return {name: value for name, value in stripped.items() if value != ""}

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str):
            if info.field_name != "system_prompt" and _CONTROL.search(value):
                raise ValueError("must not contain control characters")
            try:
                value.encode()
            except UnicodeError:
                raise ValueError("must be UTF-8") from None
        return value

    @field_validator("openai_api_key")
    @classmethod
    def _header(cls, value: str | None) -> str | None:
        if value is not None and not environment.is_header(value):
            raise ValueError("must have only characters that a header can carry")
        return value

    @field_validator("namespace")
    @classmethod
    def _name(cls, value: str) -> str:
        # A brace would change the hash tags, and with them the cluster slots of a session's keys.
        if not _NAMESPACE.fullmatch(value):
            raise ValueError("must be 1 to 64 characters out of letters, digits and `_`, `.`, `:`, `-`")
        return value

    @field_validator("redis_url")
    @classmethod
    def _known(cls, value: str) -> str:
        RedisUrl.parse(value)
        return value

    @field_validator("openai_base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None:
            model_list.check_base_url(value)
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def is_demo(self) -> bool:
        """Whether the built-in model answers: it was named, or neither a key nor an address is set."""
        return self.model == "demo" or (self.openai_api_key is None and self.openai_base_url is None)

    @property
    def model_name(self) -> str:
        return "demo" if self.is_demo else self.model or "gpt-5-mini"

    @cached_property
    def model_list(self) -> ModelList:
        """The models that may answer: those of MIDSENTENCE_MODELS, or the one of the other variables.

        Raises BadSettingsError.
        """
        model = ModelSpec(
            name=self.model_name,
            model=self.model_name,
            base_url=self.openai_base_url or model_list.OPENAI_URL,
            api_key=self.openai_api_key,
            api=self.api,
            takeover=self.takeover,
            think_tags=self.think_tags,
            timeout_seconds=self.model_timeout_seconds,
        )
        if self.models is None:
            return ModelList((replace(model, api="demo") if self.is_demo else model,))
        if self.model is not None:
            raise BadSettingsError(
                "MIDSENTENCE_MODELS cannot be used beside MIDSENTENCE_MODEL: name the model in the file. "
                "See docs/operations.md."
            )
        return model_list.read_file(self.models, model, os.environ)

    @cached_property
    def offered_models(self) -> list[str]:
        """The names that a message may give, the default first.

        The name alone counts, since servers may be given neither the key nor the address. Raises BadSettingsError.
        """
        return [self.model] if self.model is not None and self.models is None else self.model_list.names

    def check_models(self) -> None:
        """Check what only a worker needs: the models' keys, the way to them, and MIDSENTENCE_TITLE_MODEL.

        Servers may have neither the keys nor the list. Raises BadSettingsError.
        """
        self.model_list.require_keys()
        specs = [spec for spec in self.model_list.specs if spec.api != "demo"]
        for spec in specs:
            if not environment.is_header(spec.api_key or ""):
                raise BadSettingsError(
                    f"{spec.set_by.api_key} cannot be used: must have only characters that a header can carry. "
                    "See docs/operations.md."
                )
        if specs:
            environment.strip(os.environ)
            environment.check_provider_access(os.environ)
        names = [spec.name for spec in specs]
        if self.title_model is not None and self.title_model not in names:
            raise BadSettingsError(
                f"MIDSENTENCE_TITLE_MODEL cannot be used (it is {self.title_model!r}): "
                f"name a model of the list that has a provider: {', '.join(names) or 'there is none'}. "
                "See docs/operations.md."
            )

    @classmethod
    def load(cls) -> Self:
        """Read the environment, and the file of MIDSENTENCE_MODELS.

        Raises BadSettingsError with one sentence for the first variable that cannot be used.
        """
        try:
            settings = cls.model_validate({})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            variable = name if name.startswith("OPENAI_") else PREFIX + name.upper()
            reason = first["msg"].removeprefix("Value error, ")
            given = str(first["input"])
            # An address may contain a password before the @, or as an option.
            is_secret = name in {"secret", "OPENAI_API_KEY"} or "@" in given or "password" in given
            shown = "" if is_secret else f" (it is {first['input']!r})"
            raise BadSettingsError(f"{variable} cannot be used{shown}: {reason}. See docs/operations.md.") from error
        url = RedisUrl.parse(settings.redis_url)
        if url.tls:
            environment.strip(os.environ)
            environment.check_tls_files(url.options)
            environment.check_key_log(os.environ)
        _ = settings.model_list
        return settings
