"""Log lines: JSON on standard error, without bodies, query strings, or the text of foreign exceptions."""

from __future__ import annotations

import logging
import sys
import traceback
from functools import cache
from typing import Any, BinaryIO, cast

import orjson

from connectory.api.http.log_lines import Lines
from connectory.catalog.survey import text_of

_LONGEST = 500
"""Characters of a line of another logger."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Log:
    """The service's log. Nothing is logged until `configure_logs`: commands print what they are asked for."""

    def __init__(self) -> None:
        self.level = logging.CRITICAL + 1

    def log(self, level: int, event: str, **fields: Any) -> None:
        """Write one line, if lines of `level` are written."""
        if level >= self.level:
            _structlog().log(level, event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write one line of level INFO."""
        self.log(logging.INFO, event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write one line of level WARNING."""
        self.log(logging.WARNING, event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write one line of level ERROR."""
        self.log(logging.ERROR, event, **fields)


log = Log()


@cache
def _structlog() -> Any:
    # Imported for the first line: with rich, which it takes along, it is a twentieth of the start, and 4 MiB.
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str)),
        ],
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", Lines(sys.stderr.fileno()))),
    )
    return structlog.get_logger()


def configure_logs(level: str) -> None:
    """Send the service's log lines, and those of the libraries it uses, to standard error.

    Args:
        level: least severe level: `debug`, `info`, `warning` or `error`.
    """
    log.level = _LEVELS[level]
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(_LEVELS[level], logging.WARNING))


def frames(error: BaseException) -> list[str]:
    """Where `error` was raised, innermost last. Its text is left out: a foreign exception may quote a value."""
    summary = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in summary[-12:]]


class _Forward(logging.Handler):
    """Writes the records of the standard library's loggers, with exceptions reduced to type and place."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= {"error": type(record.exc_info[1]).__name__, "frames": frames(record.exc_info[1])}
        log.log(record.levelno, text_of(record)[:_LONGEST], **fields)
