"""What a person reads when no answer comes: a sentence that says what to do, then the provider's own message."""

import re
from collections.abc import Mapping
from math import ceil
from urllib.parse import urlsplit

import httpx2

from midsentence.model_list import ModelSpec
from midsentence_worker.models import json_documents as documents
from midsentence_worker.models import reported_errors, retry
from midsentence_worker.models.errors import (
    ErrorCode,
    InvalidKeyError,
    ModelError,
    StreamBrokenError,
    StreamStalledError,
)
from midsentence_worker.models.reported_errors import ReportedError
from midsentence_worker.models.surrogates import joined

_LONGEST_QUOTE = 300
_SHORTEST_KEY = 8
_LONGEST_DETAIL = 1000
# Nobody counts the seconds of a longer time, in which the provider mostly has a defect.
_LONGEST_WAIT = 7 * 86400
# OpenAI repeats a refused key masked ("sk-ab***yz"). The person who chats must not see that either. The prefixes are
# those of OpenAI, Groq, xAI, Google, Hugging Face, NVIDIA, Perplexity, Replicate, Cerebras and GitHub.
_KEY_LIKE = re.compile(
    r"\b(?:sk|key|gsk|xai|pplx|nvapi|csk)-[\w*.-]{4,}|\b(?:AIza|hf_|r8_|gh[pousr]_)[\w*-]{4,}"
    r"|(?:Bearer|Basic)\s+[^\s'\"]+",
)
# A request's id is of use to the operator alone, and their logs are the place for it.
_REQUEST_ID = re.compile(
    r"\breq_\w{6,}|\bchatcmpl-[\w-]{6,}"
    r"|(?P<name>\b(?:request|trace|correlation)[ _-]?id\b['\"]?\s*(?:[:=#]|is)?\s*)['\"]?[\w-]{6,}",
    re.IGNORECASE,
)
# The userinfo of an address: a proxy's password stands there.
_USERINFO = re.compile(r"://[^\s/@'\"]+@")
# The query of an address: a token may stand there.
_QUERY = re.compile(r"(?P<address>\bhttps?://[^\s?'\"]+)\?[^\s'\"]+")
# Addresses of the provider, and of what stands before it: a URL, an IPv4 or IPv6 address, a host with a port.
_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]]+"
    r"|\[[0-9a-f:]*:[0-9a-f:.]*\](?::\d{1,5})?"
    r"|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.]\d)"
    r"|(?<![\w:])(?:(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{1,4}|[0-9a-f]{0,4}::[0-9a-f]{1,4})(?![\w:])"
    r"|\b(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+)(?::\d{2,5})\b",
    re.IGNORECASE,
)
_CONTROLS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


class ErrorMessages:
    """Translates the errors of the SDK, of httpx2 and of providers into a ModelError.

    The rules: the provider's words are quoted, briefly, from whatever envelope they came in. No message contains a key,
    a password, an address or the id of a request: those are for the operator, and stand in the log. Each message can be
    written: it has no lone surrogate.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._address = _without_secrets(spec.base_url)
        self._host = _host_pattern(spec.base_url)
        self._name = spec.name
        self._model = spec.model
        self._set_by = spec.set_by
        self._key = (spec.api_key or "").strip()
        self._patience = spec.timeout_seconds
        self._api = spec.api

    def of_request(self, error: Exception) -> ModelError:
        """Translate the error of a request that brought nothing of an answer."""
        if isinstance(error, ReportedError):
            return self._of_refusal(error.status, {}, error.reported)
        if (refused := retry.refusal(error)) is not None:
            return self._of_refusal(refused.status_code, refused.headers, _body(refused))
        if retry.is_stall(error):
            return self.stalled()
        if isinstance(error, StreamBrokenError):
            return self.truncated()
        if isinstance(error, InvalidKeyError):
            return self._error(
                "model_refused_key", f"{self._set_by.api_key} cannot be a key: copy it again, without line breaks."
            )
        return self._error(
            "model_unreachable",
            f"The model {self._name} does not answer: start its server, or correct {self._set_by.base_url}.",
            str(error.__cause__ or error),
        )

    def of_stream(self, error: StreamStalledError | StreamBrokenError) -> ModelError:
        """Translate an error that ended a stream."""
        return self.stalled() if isinstance(error, StreamStalledError) else self.truncated()

    def unreadable(self, reported: object = None) -> ModelError:
        """Nothing of what came can be read as an answer; `reported` is a part of it."""
        return self.failed(reported_errors.words(reported) or "It sent something that is no answer.")

    def failed(self, reported: object) -> ModelError:
        """The provider itself ended the answer; `reported` is its reason."""
        # A refusal of the request would come again.
        status = reported_errors.status_of(reported)
        is_final = status is not None and status < 500 and status not in retry.BUSY
        sentence = f"The model {self._name} failed while it answered: ask again."
        return self._error("model_failed", sentence, reported, is_final=is_final)

    def of_event(self, reported: object) -> ModelError:
        """Translate an error that the provider reports in the middle of an answer: an object, or a text."""
        if reported_errors.status_of(reported) == 429:
            return self.rate_limited(reported)
        return self.failed(reported)

    def rate_limited(self, reported: object, when: str = "later", retry_after: float | None = None) -> ModelError:
        sentence = f"The model {self._name} takes no more requests for now: ask again {when}."
        return self._error("model_rate_limited", sentence, reported, retry_after=retry_after)

    def cancelled(self) -> ModelError:
        return self._error("model_failed", f"Somebody cancelled the answer of {self._name} at its provider: ask again.")

    def not_cancelled(self, seconds: float) -> ModelError:
        return self._error(
            "model_stalled", f"The provider did not confirm within {seconds:g} seconds that it cancelled the answer."
        )

    def truncated(self) -> ModelError:
        return self._error("model_truncated", "The model's answer broke off before its end: ask again.")

    def empty(self, content_type: str, reported: object = None) -> ModelError:
        """Explain a 200 without an answer: mostly a web page, because the address lacks its /v1."""
        if content_type.startswith("text/event-stream"):
            return self.unreadable(reported) if reported else self.truncated()
        return self._error(
            "model_failed",
            f"The model {self._name} sent no stream: check {self._set_by.base_url}, which mostly ends in /v1.",
            reported_errors.words(reported) or f"Content-Type {content_type or 'missing'}",
        )

    def _of_refusal(  # noqa: PLR0911 - one for each kind
        self, status: int | None, headers: Mapping[str, str], reported: object
    ) -> ModelError:
        """Translate a status of HTTP, or an error that came in its stead; `status` is None where it has no code."""
        if status is None:
            return self.failed(reported)
        if status in {401, 403}:
            do = f"{'check' if self._key else 'set'} {self._set_by.api_key}"
            sentence = f"The provider of {self._name} refused the key ({status}): {do}."
            return self._error("model_refused_key", sentence, reported)
        wait = retry.retry_after(headers)
        if status == 429:
            when = f"in {ceil(wait)} seconds" if wait and wait < _LONGEST_WAIT else "later"
            return self.rate_limited(reported, when, wait)
        if status in retry.BUSY:
            return self._error(
                "model_rate_limited",
                f"The model {self._name} is busy ({status}): ask again later.",
                reported,
                retry_after=wait,
            )
        if status >= 500:
            return self._error(
                "model_failed", f"The model {self._name} failed ({status}): ask again.", reported, retry_after=wait
            )
        if status == 404:
            unknown, check = f"model {self._model}", self._set_by.model
            if self._api == "responses":
                unknown, check = f"{unknown}, or no Responses API", f"{check}, {self._set_by.api}"
            sentence = f"The provider of {self._name} knows no {unknown}: check {check} and {self._set_by.base_url}."
        elif status < 400:
            target = _without_secrets(headers.get("location", "")) or "nowhere"
            sentence = (
                f"The provider of {self._name} redirects the request ({status}): set {self._set_by.base_url} to the "
                "address that answers, which the worker's log names."
            )
            return self._error("model_refused_request", sentence, detail=f"redirected to {target}")
        else:
            sentence = f"The model {self._name} refused the request ({status}): change what you ask."
        return self._error("model_refused_request", sentence, reported)

    def stalled(self) -> ModelError:
        return self._error("model_stalled", f"The model was silent for {self._patience:g} seconds: ask again.")

    def _error(
        self,
        code: ErrorCode,
        sentence: str,
        reported: object = None,
        *,
        retry_after: float | None = None,
        is_final: bool = False,
        detail: str = "",
    ) -> ModelError:
        """Make a failure from a sentence of the form "what happened: what to do."

        `reported` holds the provider's own words. `detail` is for the log alone.
        """
        words = self._without_keys(_CONTROLS.sub(" ", reported_errors.words(reported)).strip())
        quote = self._without_addresses(words)
        if len(quote) > _LONGEST_QUOTE:
            quote = quote[: _LONGEST_QUOTE - 1] + "…"
        reason = sentence.partition(": ")[0].rstrip(".") + "."
        message, reason = (f"{text} ({quote})" if quote else text for text in (sentence, reason))
        detail = ": ".join(filter(None, (self._address, detail or words[:_LONGEST_DETAIL])))
        # The message is written to the log, and a lone surrogate of a provider cannot be.
        return ModelError(
            code,
            joined(message),
            reason=joined(reason),
            retry_after=retry_after,
            is_final=is_final,
            detail=joined(detail),
        )

    def _without_keys(self, text: str) -> str:
        """Remove keys and passwords. Call it before the text is cut, or half of a key stays."""
        if self._key:
            # A longer key that begins like this one is a key too; a key such as `x` is the beginning of many words.
            more = r"[\w*.-]*" if len(self._key) >= _SHORTEST_KEY else ""
            text = re.sub(re.escape(self._key) + more, "[key]", text)
        return _QUERY.sub(r"\g<address>", _USERINFO.sub("://", _KEY_LIKE.sub("[key]", text)))

    def _without_addresses(self, text: str) -> str:
        text = _ADDRESS.sub("[address]", text)
        if self._host is not None:
            text = self._host.sub("[address]", text)
        return _REQUEST_ID.sub(lambda found: f"{found['name'] or ''}[id]", text)


def _body(response: httpx2.Response) -> object:
    """The body of an error: what its JSON holds, or its text."""
    try:
        content = response.content
    except httpx2.ResponseNotRead:
        return None
    try:
        return documents.parse(content)
    except documents.UNREADABLE:
        return content.decode(errors="replace")


def _without_secrets(address: str) -> str:
    """Drop the parts that may hold a password or a token: `user:password@` and the query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _host_pattern(address: str) -> re.Pattern[str] | None:
    """Where the provider's host stands in a text.

    A host of one word, such as `ollama`, may be a word of the sentence. It is the host in front of a port, and behind
    the words with which HTTP clients and resolvers introduce one.
    """
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return None
    if not host:
        return None
    name = re.escape(host)
    is_word = "." not in host
    pattern = rf"(?<![\w.-]){name}(?![\w.-]*\w)"
    if is_word:
        pattern = rf"(?<![\w.-]){name}:\d{{1,5}}(?!\w)|(?:(?<=\bhost )|(?<=\blookup )|(?<=\bresolve )){name}(?![\w-])"
    return re.compile(pattern, re.IGNORECASE)
