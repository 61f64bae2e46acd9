"""What a person reads when no answer comes: a sentence that says what to do, then the provider's own message."""

import re
from collections.abc import Mapping
from math import ceil
from typing import cast
from urllib.parse import urlsplit

import httpx2
import openai

from midsentence.settings import Settings
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models import retry
from midsentence_worker.models.errors import (
    ErrorCode,
    InvalidKeyError,
    ModelError,
    StreamBrokenError,
    StreamStalledError,
)

_LONGEST_QUOTE = 300
# OpenAI repeats a refused key masked ("sk-ab***yz"). The person who chats must not see that either.
_KEY_LIKE = re.compile(r"\b(?:sk|key|gsk|xai)-[\w*.-]{4,}|Bearer\s+[^\s'\"]+")


class ErrorMessages:
    """Translates the errors of the SDK, of httpx2 and of providers into a ModelError."""

    def __init__(self, settings: Settings, address: str) -> None:
        self._address = _without_secrets(address)
        self._model = settings.model_name
        self._key = (settings.openai_api_key or "").strip()
        self._patience = settings.model_timeout_seconds
        self._api = settings.api

    def of_request(self, error: Exception) -> ModelError:
        """Translate the error of a request that returned no stream."""
        refused = retry.refusal(error)
        if refused is not None:
            return self._by_status(refused, error.body if isinstance(error, openai.APIStatusError) else None)
        if retry.is_stall(error):
            return self.stalled()
        if isinstance(error, InvalidKeyError):
            return self._error(
                "model_refused_key", "OPENAI_API_KEY cannot be a key: copy it again, without line breaks."
            )
        return self._error(
            "model_unreachable",
            f"Nobody answers at {self._address}: start the model's server there, or correct OPENAI_BASE_URL.",
            str(error.__cause__ or error),
        )

    def of_stream(self, error: StreamStalledError | StreamBrokenError) -> ModelError:
        """Translate an error that ended a stream."""
        return self.stalled() if isinstance(error, StreamStalledError) else self.truncated()

    def unreadable(self) -> ModelError:
        return self.failed("It sent something that is no answer.")

    def failed(self, reported: object) -> ModelError:
        """The provider itself ended the answer; `reported` is its reason."""
        return self._error(
            "model_failed", f"The model at {self._address} failed while it answered: ask again.", reported
        )

    def of_event(self, reported: object) -> ModelError:
        """Translate an error that the provider reports inside a stream: an object, or a text."""
        error = documents.mapping(reported)
        error = documents.mapping(error.get("error")) or error
        is_rate_limit = "rate_limit" in str(error.get("code"))
        return self.rate_limited(reported) if is_rate_limit else self.failed(reported)

    def rate_limited(self, reported: object, when: str = "later") -> ModelError:
        sentence = f"{self._address} takes no more requests for now: ask again {when}."
        return self._error("model_rate_limited", sentence, reported)

    def cancelled(self) -> ModelError:
        return self._error("model_failed", f"Somebody cancelled the answer at {self._address}: ask again.")

    def not_cancelled(self, seconds: float) -> ModelError:
        return self._error(
            "model_stalled", f"{self._address} did not confirm within {seconds:g} seconds that it cancelled the answer."
        )

    def truncated(self) -> ModelError:
        return self._error("model_truncated", "The model's answer broke off before its end: ask again.")

    def empty(self, content_type: str) -> ModelError:
        """Explain a 200 without a stream: mostly a web page, because the address lacks its /v1."""
        if content_type.startswith("text/event-stream"):
            return self.truncated()
        return self._error(
            "model_failed",
            f"{self._address} sent no stream: check OPENAI_BASE_URL, which mostly ends in /v1.",
            f"Content-Type {content_type or 'missing'}",
        )

    def _by_status(self, response: httpx2.Response, body: object) -> ModelError:
        status = response.status_code
        if status in {401, 403}:
            do = "check OPENAI_API_KEY" if self._key else "set OPENAI_API_KEY"
            # At 401 the provider's own text is about the key alone; at 403 it may name a region or a model.
            reported = body if status == 403 else None
            return self._error("model_refused_key", f"{self._address} refused the key ({status}): {do}.", reported)
        if status == 429:
            wait = retry.retry_after(response)
            return self.rate_limited(body, f"in {ceil(wait)} seconds" if wait else "later")
        if status >= 500:
            return self._error("model_failed", f"The model at {self._address} failed ({status}): ask again.", body)
        if status == 404:
            unknown, check = f"model {self._model}", "MIDSENTENCE_MODEL"
            if self._api == "responses":
                unknown, check = f"{unknown}, or no Responses API", f"{check}, MIDSENTENCE_API"
            sentence = f"{self._address} knows no {unknown}: check {check} and OPENAI_BASE_URL."
        else:
            sentence = (
                f"The model {self._model} at {self._address} refused the request ({status}): change what you ask."
            )
        return self._error("model_refused_request", sentence, body)

    def stalled(self) -> ModelError:
        return self._error("model_stalled", f"The model was silent for {self._patience:g} seconds: ask again.")

    def _error(self, code: ErrorCode, sentence: str, reported: object = None) -> ModelError:
        quote = self._redacted(" ".join(_text(reported).split()))
        if len(quote) > _LONGEST_QUOTE:
            quote = quote[: _LONGEST_QUOTE - 1] + "…"
        return ModelError(code, f"{sentence} ({quote})" if quote else sentence)

    def _redacted(self, text: str) -> str:
        """Remove keys. Call it before the text is cut, or half of a key could stay."""
        return _KEY_LIKE.sub("[key]", text.replace(self._key, "[key]") if self._key else text)


def _text(reported: object) -> str:
    """Find the message in an error's body; providers nest it in several ways."""
    if isinstance(reported, Mapping):
        body = cast("Mapping[str, object]", reported)
        return next((text for name in ("error", "message", "detail") if (text := _text(body.get(name)))), "")
    # A proxy's error page contains nothing that its status does not say.
    return reported if isinstance(reported, str) and not reported.lstrip().startswith("<") else ""


def _without_secrets(address: str) -> str:
    """Drop the parts that may hold a password or a token: `user:password@` and the query."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
