"""Every setting, once. All are environment variables; `docs/operations.md` lists them and a test keeps it so."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from midsentence.errors import BadSettingsError
from midsentence.redis_url import RedisUrl

PREFIX = "MIDSENTENCE_"

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """What a process was told to do. Frozen; `load()` is how a program makes one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    # The log
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Where the log lives: one Redis, the primary that sentinels name, or a cluster; see below.",
    )
    redis_timeout_seconds: Seconds = Field(5, description="How long one command may take before Redis counts as gone.")
    partitions: int = Field(
        16, ge=1, le=256, description="Over how many hash tags new sessions spread. The same on every process."
    )
    session_ttl: Seconds = Field(30 * 86400, description="Seconds that a session is kept after it was last written to.")
    replay_seconds: Seconds = Field(
        300, description="Seconds after its end during which a turn can be resumed event by event; then by snapshot."
    )
    replay_events: Count = Field(
        400, description="A reader further behind than this many events is answered with the snapshot."
    )
    durable: bool = Field(False, description="Answer a POST only after the append-only file is on disk (WAITAOF).")
    queue_limit: Count = Field(8, description="How many messages may wait in one session while a turn runs.")

    # The server
    secret: str | None = Field(
        None,
        min_length=16,
        description="Signs the owner's cookie. Without it one is made and kept in Redis for all servers.",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins beside the server's own that may POST, separated by commas."
    )
    max_body_bytes: Count = Field(1_048_576, description="The largest body of a request.")
    max_text_chars: Count = Field(100_000, description="The longest message, in characters.")
    push: bool = Field(
        False, description="Serve GET /push. A GET that costs money is a gift to a forger: keep it off in public."
    )
    ping_seconds: Seconds = Field(15, description="How often a silent stream says ping.")
    stuck_reader_seconds: Seconds = Field(
        30, description="A reader that takes nothing for this long is cut; it can come back."
    )
    drain_seconds: Seconds = Field(
        20, description="How long a process that was told to stop may take to finish its work."
    )

    # The worker
    openai_api_key: str | None = Field(
        None, validation_alias=AliasChoices("OPENAI_API_KEY"), description="The key for the model's provider."
    )
    openai_base_url: str | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_BASE_URL"),
        description="An OpenAI-compatible server's address, with its /v1.",
    )
    model: str | None = Field(
        None,
        description="The model's name there. Else gpt-5-mini, or `demo` where neither key nor address is set.",
    )
    system_prompt: str = Field("", description="Sent before every conversation, and never trimmed away.")
    context_tokens: Count = Field(
        8000, description="Budget of the conversation sent to the model; the oldest turns go first."
    )
    model_timeout_seconds: Seconds = Field(60, description="How long the model may be silent.")
    worker_concurrency: Count = Field(64, description="How many turns one worker runs at once.")
    flush_ms: float = Field(25, ge=0, description="Tokens that come within this many milliseconds travel together.")
    lease_seconds: Seconds = Field(10, description="A worker that is silent this long has lost its turns to another.")
    api: Literal["chat", "responses"] = Field(
        "chat", description="How the model is asked: chat completions, or OpenAI Responses in background mode."
    )
    takeover: Literal["auto", "reattach", "continue", "restart", "fail"] = Field(
        "auto", description="What becomes of an answer whose worker died; auto takes the best that is safe."
    )
    max_attempts: Count = Field(5, description="How many workers may die of one turn before it ends with an error.")

    # All
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe line that is logged."
    )

    @field_validator("redis_url")
    @classmethod
    def _known(cls, value: str) -> str:
        RedisUrl.parse(value)
        return value

    @field_validator("openai_base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None:
            address = urlsplit(value)
            # Reading the port raises ValueError where it is none.
            if address.scheme not in {"http", "https"} or not address.hostname or address.port == 0:
                raise ValueError("must be an address that begins with http:// or https://")
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def is_demo(self) -> bool:
        """Nothing says where a model is, so the built-in one answers."""
        return self.model == "demo" or (self.openai_api_key is None and self.openai_base_url is None)

    @property
    def model_name(self) -> str:
        return "demo" if self.is_demo else self.model or "gpt-5-mini"

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises BadSettingsError with one sentence for the first variable that cannot be used.
        """
        try:
            return cls.model_validate({})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            variable = name if name.startswith("OPENAI_") else PREFIX + name.upper()
            reason = first["msg"].removeprefix("Value error, ")
            given = str(first["input"])
            # Addresses may carry a password before their @, or as an option.
            is_secret = name in {"secret", "OPENAI_API_KEY"} or "@" in given or "password" in given
            shown = "" if is_secret else f" (it is {first['input']!r})"
            raise BadSettingsError(f"{variable} cannot be used{shown}: {reason}. See docs/operations.md.") from error
