"""A test that leaves logging changed is named, and not the one that later waits for a log line in vain."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ROOT = logging.getLogger()
_AS_MADE = (logging.NOTSET, True, False, ())
"""Level, `propagate`, `disabled` and handlers of a new logger."""


@contextmanager
def logging_unchanged() -> Iterator[None]:
    """Put back what the block changed of logging in this process.

    Raises:
        AssertionError: there was something; it says what.
    """
    before = _state()
    yield
    after = _state()
    changed = [name for name in after if after[name] != before.get(name, _AS_MADE)]
    if changed:
        _put_back(before, changed)
        raise AssertionError(f"Logging was left changed, and later tests would see no log lines: {', '.join(changed)}.")


def _state() -> dict[str, Any]:
    loggers = [_ROOT, *(item for item in _ROOT.manager.loggerDict.values() if isinstance(item, logging.Logger))]
    ours = [logger for logger in loggers if logger is _ROOT or logger.name.partition(".")[0] == "connectory"]
    return {"logging.disable()": _ROOT.manager.disable} | {
        logger.name: (logger.level, logger.propagate, logger.disabled, tuple(logger.handlers)) for logger in ours
    }


def _put_back(before: dict[str, Any], changed: list[str]) -> None:
    logging.disable(before["logging.disable()"])
    for name in changed:
        if name == "logging.disable()":
            continue
        logger = _ROOT if name == _ROOT.name else logging.getLogger(name)
        level, logger.propagate, logger.disabled, handlers = before.get(name, _AS_MADE)
        logger.setLevel(level)
        logger.handlers[:] = handlers
