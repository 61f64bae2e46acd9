"""What happens to a provider and to its streams."""

from types import MappingProxyType
from typing import Literal, NamedTuple

Outage = Literal["refuses", "is silent", "500", "503", "503 Retry-After", "429", "429 Retry-After"]
Spoiling = Literal[
    "cut", "reset", "stall", "slow bytes", "error of OpenAI", "error of vLLM", "error overloaded", "response failed"
]

# As OpenAI, vLLM and servers in front of Anthropic's models end a stream that has begun.
ERRORS = MappingProxyType(
    {
        "error of OpenAI": (
            b'data: {"error": {"message": "The server had an error while processing your request.", '
            b'"type": "server_error", "param": null, "code": null}}\n\n'
        ),
        "error of vLLM": (
            b'data: {"object": "error", "message": "EngineCore encountered an issue.", '
            b'"type": "InternalServerError", "param": null, "code": 500}\n\n'
        ),
        "error overloaded": (
            b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'
        ),
    }
)


class StreamFault(NamedTuple):
    spoiling: Spoiling
    at: float  # which part of the stream goes through before: from 0, nothing, to 1
