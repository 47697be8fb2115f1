"""What all code in a process shares, and importing a plugin must leave as it is: seen before and after, and put back."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Self


class _Part(NamedTuple):
    """One thing that is shared.

    Attributes:
        name: what people call it.
        get: its value.
        put: gives it a value back.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


def _put_handlers(handlers: list[logging.Handler]) -> None:
    logging.root.handlers[:] = handlers


def _environment() -> frozenset[tuple[str, str]]:
    return frozenset(os.environ.items())


def _put_environment(variables: frozenset[tuple[str, str]]) -> None:
    environment = dict(variables)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _loggers() -> dict[str, tuple[bool, bool, int, list[logging.Handler]]]:
    loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    return {one.name: (one.disabled, one.propagate, one.level, list(one.handlers)) for one in loggers}


def _put_loggers(states: dict[str, tuple[bool, bool, int, list[logging.Handler]]]) -> None:
    for name, (disabled, propagate, level, handlers) in states.items():
        logger = logging.getLogger(name)
        logger.disabled, logger.propagate, logger.handlers[:] = disabled, propagate, handlers
        if logger.level != level:
            logger.setLevel(level)


def _signal_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _put_signal_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            with suppress(ValueError, TypeError):  # not in the main thread, or not of Python's making
                signal.signal(number, handler)


_SIGNALS = tuple(signal.valid_signals())
_METHODS = ("_log", "handle", "callHandlers", "isEnabledFor")


def _methods_of_loggers() -> dict[str, Any]:
    return {name: vars(logging.Logger)[name] for name in _METHODS}


def _put_methods_of_loggers(methods: dict[str, Any]) -> None:
    for name, method in methods.items():
        setattr(logging.Logger, name, method)


_PARTS = (
    _Part("logging.disable()", lambda: logging.root.manager.disable, logging.disable),
    _Part("the root logger's level", lambda: logging.root.level, logging.root.setLevel),
    _Part("the root logger's handlers", lambda: list(logging.root.handlers), _put_handlers),
    _Part("the class of loggers", logging.getLoggerClass, logging.setLoggerClass),
    _Part("how logging makes records", logging.getLogRecordFactory, logging.setLogRecordFactory),
    _Part("methods of loggers", _methods_of_loggers, _put_methods_of_loggers),
    _Part("the timeout of new sockets", socket.getdefaulttimeout, socket.setdefaulttimeout),
    _Part("the handlers of signals", _signal_handlers, _put_signal_handlers),
    _Part("sys.stdout", lambda: sys.stdout, lambda stream: setattr(sys, "stdout", stream)),
    _Part("sys.stderr", lambda: sys.stderr, lambda stream: setattr(sys, "stderr", stream)),
    _Part("sys.excepthook", lambda: sys.excepthook, lambda hook: setattr(sys, "excepthook", hook)),
    _Part("the working directory", os.getcwd, os.chdir),
    _Part("the environment", _environment, _put_environment),
    _Part("loggers of others", _loggers, _put_loggers),
)


class ProcessState:
    """The process as it is now. As a context, it puts the process back at the end of the block.

    Threads are only counted: nothing can end them.
    """

    def __init__(self) -> None:
        self._values = [part.get() for part in _PARTS]
        self._threads = threading.active_count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def changes(self) -> list[str]:
        """The names of what is not as it was, in the words of a sentence: `logging.disable()`, `the environment`."""
        changed = [part.name for part, value in zip(_PARTS, self._values, strict=True) if _differs(part.get(), value)]
        return changed + (["the running threads"] if threading.active_count() > self._threads else [])

    def restore(self) -> None:
        """Put it back as it was, but for threads."""
        for part, value in zip(_PARTS, self._values, strict=True):
            if _differs(part.get(), value):
                part.put(value)


def _differs(now: Any, before: Any) -> bool:
    """Whether something is not as it was. Of a dictionary, what was there counts, and not what has come."""
    if isinstance(before, dict):
        return any(now.get(name) != value for name, value in before.items())
    return bool(now != before)
