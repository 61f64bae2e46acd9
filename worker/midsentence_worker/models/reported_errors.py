"""Errors in the words of a provider: in the body of a response, or in an event of its stream.

The rules: the words are found in an object, in an array, and under any of the usual names (`error`, `errors`,
`message`, `detail`, …). A code is a status of HTTP as a number or in a provider's word for it, in any spelling. It
counts where nothing of the answer came yet: the provider had sent the headers before it knew that it would refuse.
"""

import re
from typing import Any

from midsentence_worker.models import json_documents as documents

# The words may be nested, also as JSON within a string. Deeper nesting would only exhaust the stack.
_DEEPEST = 6
_WORDS = (
    *("error", "errors", "message", "msg", "detail", "details", "error_message", "errorMessage", "error_msg"),
    *("error_description", "description", "base_resp", "status_msg", "reason", "title", "text", "content", "response"),
    "output",
)
_CODES = (
    *("code", "status", "status_code", "statusCode", "http_status", "httpStatus", "http_code", "error_code"),
    *("errorCode", "type", "__type", "error_type", "errorType", "reason"),
)
# The first line that fits a word in its usual spelling gives the status. The sources: OpenAI, Anthropic, Google
# (google.rpc.Code), AWS, Mistral, DeepSeek, vLLM (names of exceptions), LiteLLM and OpenRouter.
_STATUSES = tuple(
    (re.compile(pattern), status)
    for pattern, status in (
        (r"rate_?limit|too_many|resource_exhausted|throttl|quota|slow_down|^tokens$|^requests$", 429),
        (r"insufficient_(balance|funds|credits?)|payment|billing|out_of_credits", 402),
        (r"api_?key|authenti|unauthori[sz]ed|invalid_(auth|token|credential)|expired_token", 401),
        (r"permission|forbidden|access_denied|unsupported_country", 403),
        (r"not_?found|unknown_model|no_such_model|model_does_not_exist", 404),
        (r"overload|unavailable|capacity|engine_(dead|died)|loading|busy|not_ready|insufficient_system", 503),
        (r"request_timeout", 408),
        (r"gateway_timeout|deadline|time_?out|timed_out", 504),
        (r"bad_gateway|upstream|provider_error|connection_error", 502),
        (r"conflict|^aborted?$", 409),
        (r"too_large|too_long|context_(length|window)|max_(length|tokens)|string_above|^out_of_range$", 400),
        (r"invalid|bad_request|unprocessable|unsupported|validation|precondition|policy|filter|moderation", 400),
        (r"internal|server|^api_error$|engine|^unknown(_error)?$|^exception$|^runtime_error$|data_loss", 500),
    )
)
# Types of events that report an error, and texts that are one.
ERROR_EVENTS = frozenset({b"error", b"Error", b"ERROR", b"exception"})
ERROR_TEXT = re.compile(r"[\W_]*(error|exception|traceback)\b", re.IGNORECASE)
# `429`, `HTTP 429`, `429 Too Many Requests`
_NUMBER = re.compile(r"\s*(?:HTTP\S*[\s_])?([45][0-9]{2})\b", re.IGNORECASE)


class ReportedError(Exception):
    """The provider answered 200 and then reported an error, before anything of the answer.

    `status` is the status of HTTP that its code stands for, if it has one.
    """

    def __init__(self, reported: object) -> None:
        super().__init__()
        self.reported = reported
        self.status = status_of(reported)


def words(reported: object, depth: int = 0) -> str:
    """The message of an error, or an empty string."""
    if depth > _DEEPEST:
        return ""
    if isinstance(reported, str):
        return _words_of_string(reported, depth)
    if documents.is_array(reported):
        return next((text for part in documents.array(reported) if (text := words(part, depth + 1))), "")
    fields = documents.mapping(reported)
    present = (fields[name] for name in (*_WORDS, *filter(_is_exception, fields)) if name in fields)
    found = next((text for value in present if (text := words(value, depth + 1))), "")
    # OpenRouter says that a provider failed, and quotes the provider here.
    raw = words(documents.mapping(fields.get("metadata")).get("raw"), depth + 1)
    return f"{found}: {raw}" if found and raw else found or raw


def status_of(reported: object, depth: int = 0) -> int | None:
    """The status of HTTP that the code of an error stands for."""
    if depth > _DEEPEST:
        return None
    if documents.is_array(reported):
        found = (status_of(part, depth + 1) for part in documents.array(reported))
        return next((status for status in found if status is not None), None)
    fields = documents.mapping(reported)
    for inner in (fields[name] for name in ("error", "errors") if name in fields):
        if (status := status_of(inner, depth + 1)) is not None:
            return status
        # A word alone is a code, a sentence is none.
        if isinstance(inner, str) and " " not in inner.strip() and (status := _status_of_code(inner)) is not None:
            return status
    found = (_status_of_code(fields.get(name)) for name in _CODES)
    return next((status for status in found if status is not None), None)


def is_error(fields: Any) -> bool:
    """Whether an object reports an error, in one of the envelopes in which providers do."""
    fields = documents.mapping(fields)
    if fields.get("error"):
        return True
    if "choices" in fields and not documents.mapping(fields.get("base_resp")).get("status_code"):
        return False
    if "error" in {documents.word(fields.get("object")), documents.word(fields.get("type"))}:
        return True
    if documents.mapping(fields.get("base_resp")).get("status_code"):  # MiniMax; 0 is a success
        return True
    return bool(fields.get("errors") or any(map(_is_exception, fields)) or (status_of(fields) and words(fields)))


def _is_exception(name: str) -> bool:
    """Whether AWS names an error so: `throttlingException`."""
    return name.endswith("Exception")


def error_or_first(document: object) -> object:
    """The object that stands for an array: its error, or else its first object. Gemini wraps an error in an array."""
    parts = [part for part in documents.array(document) if documents.is_object(part)]
    return next(filter(is_error, parts), parts[0]) if parts else document


def _words_of_string(text: str, depth: int) -> str:
    text = text.strip()
    # A proxy's error page contains nothing that its status does not say.
    if text.startswith("<"):
        return ""
    if text[:1] in {"{", "["}:
        try:
            return words(documents.parse(text.encode(errors="replace")), depth + 1)
        except documents.UNREADABLE:
            # A JSON document that was cut off; other texts may begin with a bracket.
            return "" if re.match(r"\{|\[\s*[\[{\"]", text) else text
    return text


def _status_of_code(code: object) -> int | None:
    if isinstance(code, str) and (number := _NUMBER.match(code)):
        code = int(number[1])
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    if isinstance(code, int):
        return code if 400 <= code <= 599 and not isinstance(code, bool) else None
    if not (name := documents.word(code)) or name == "error":
        return None
    return next((status for pattern, status in _STATUSES if pattern.search(name)), None)
