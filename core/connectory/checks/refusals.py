"""Why no process was started for a test or a session, through no fault of the connection."""

from __future__ import annotations

import logging
import os

_log = logging.getLogger(__name__)


class NoProcess(Exception):
    """This process, or the machine, has no more descriptors, processes or memory for a test. The message says what is short."""


class ShuttingDown(Exception):
    """The service is ending: no test starts, and those that run are ended."""


def no_process(error: OSError) -> NoProcess:
    """What to raise where a process could not be started, which is logged."""
    what = os.strerror(error.errno) if error.errno else type(error).__name__
    _log.error("No process for a connection test: %s.", what)
    return NoProcess(what)
