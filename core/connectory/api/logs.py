"""Log lines: JSON on standard error, without bodies, query strings, or the text of foreign exceptions."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Log:
    """Writes one line for each event whose level is not below `threshold`. Until it is configured, none."""

    threshold = logging.CRITICAL + 1

    def info(self, event: str, **fields: Any) -> None:
        """What happened as it should."""
        self.write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What somebody may want to look at."""
        self.write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """What is a fault of the service."""
        self.write(logging.ERROR, event, fields)

    def write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        """Write one line, in one piece."""
        if level < self.threshold:
            return
        line = {"timestamp": datetime.now(UTC), "level": logging.getLevelName(level).lower(), "event": event} | fields
        sys.stderr.buffer.write(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))
        sys.stderr.buffer.flush()


log = _Log()
"""The service's log."""


def configure_logs(level: str) -> None:
    """Send the service's log lines, and those of the libraries it uses, to standard error.

    Args:
        level: least severe level: `debug`, `info`, `warning` or `error`.
    """
    log.threshold = _LEVELS[level]
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
        # A library's message template is its own text; the arguments may be anybody's.
        log.write(record.levelno, str(record.msg)[:200], fields)
