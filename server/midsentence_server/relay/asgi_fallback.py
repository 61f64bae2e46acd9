"""The warning of a server that relays streams through ASGI because it cannot take connections over."""

import structlog

_logger = structlog.get_logger()
_reasons: list[str] = []


def warn_once(reason: str) -> None:
    """Log the first reason; the process goes on with ASGI, which costs each stream a task and its request's memory."""
    if not _reasons:
        _reasons.append(reason)
        _logger.warning(
            "streams_through_asgi",
            reason=reason,
            effect="each open stream takes more memory and time",
            remedy="start the server with `midsentence-server`, with the releases of uvicorn and httptools that "
            "midsentence's package metadata allows",
        )
