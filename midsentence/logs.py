"""Logging: one line for each event, readable on a terminal and JSON elsewhere.

No log line contains the text of a message or a key.
"""

import logging
import sys
from types import TracebackType

import structlog

from midsentence.settings import Settings


def configure(settings: Settings, process: str) -> None:
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        # Writes a line in one call: several processes may share the output, and print() writes the line end by itself.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)
    # What libraries log, uvicorn and asyncio above all, and the traceback of a crash become such lines too. Without it,
    # nobody could tell which of several processes wrote them.
    logging.basicConfig(handlers=[_Forwarder()], force=True)
    sys.excepthook = _log_crash


class _Forwarder(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None
        )


def _log_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    structlog.get_logger().critical("crashed", exc_info=(kind, error, traceback))
