"""What plugins do to the process while they are loaded: noted, put back, and said in a sentence with the remedy."""

from __future__ import annotations

import fcntl
import os
import select
import sys
import termios
import threading
import time
import warnings
from typing import Any

from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.loading import Loading, thread_name
from connectory.catalog.process_state import ProcessState
from connectory.catalog.record import PluginRecord
from connectory.documents.json_schema import left_out_defaults

REMARK_LIMIT = 500
"""Characters of a remark."""


class Watch:
    """Puts the process back as it was, after each plugin.

    Attributes:
        patience: seconds that a plugin may take before the next one is begun beside it. What then happens to the process may be
            the doing of either, and is put back without a remark.
        spare: seconds that all of them together may take besides, so that a busy machine costs no remark.
        deferred: what is loaded last.
    """

    patience = 0.3
    spare = 3.0
    deferred: frozenset[PluginRecord] = frozenset()

    def __init__(self) -> None:
        self._before: dict[PluginRecord, ProcessState] = {}
        self._alone: PluginRecord | None = None

    def begin(self, record: PluginRecord) -> None:
        """Before a plugin's code runs. A `PluginBroken` raised here is taken for its own."""
        self._alone = None if self._before else record
        self._before[record] = ProcessState()

    def waits_for(self, loading: Loading[LoadedConnector]) -> bool:
        """Wait until it is time to begin the next one; whether this one has ended."""
        if loading.record in self.deferred:
            return loading.ends_within(0)
        if loading.ends_within(self.patience):
            return True
        began = time.monotonic()
        ended = loading.ends_within(self.spare)
        self.spare = max(0.0, self.spare - (time.monotonic() - began))
        return ended

    def note_slow(self, record: PluginRecord) -> None:
        """The next one is begun beside it."""

    def wait_for_slow(self) -> None:
        """All others are loaded."""

    def end(self, record: PluginRecord, connector: LoadedConnector | None) -> str:
        """After it ran.

        Args:
            connector: what came of it; `None` where it did not load.

        Returns:
            A remark on it, in one line; empty where there is nothing to say.
        """
        before = self._before.pop(record)
        said = self._said_of(before) if self._alone == record else []
        before.restore()
        said += self._said_by(record)
        if connector is not None:
            said += [
                f"The default of {place} is not JSON, so that forms show the field as empty; use text, a number, a boolean or "
                "None."
                for place in left_out_defaults(connector.schema, connector.plugin().secrets_model)
            ]
        return " ".join(said)[:REMARK_LIMIT]

    def _said_of(self, before: ProcessState) -> list[str]:
        """What the process tells of the plugin that was loaded alone."""
        changes = before.changes()
        if not changes:
            return []
        return [
            f"Importing it changes {', '.join(changes)} of the whole process, which was undone; do it inside the test."
        ]

    def _said_by(self, record: PluginRecord) -> list[str]:  # noqa: ARG002
        """What is known to be the doing of this one, also where others were loaded beside it."""
        return []


class Attentive(Watch):
    """Hears as well what plugins write and warn of. For a process that does nothing but load them: its output is taken away."""

    def __init__(self) -> None:
        super().__init__()
        self._output, entrance = os.pipe()
        for descriptor in (1, 2):
            os.dup2(entrance, descriptor)
        self._heard = 0
        self._hearing = threading.Lock()  # what has left the pipe is counted: nobody looks between the two
        self._warned: dict[str, set[str]] = {}
        warnings.showwarning = self._note_warning  # type: ignore[assignment]  # which of its arguments matter
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        heard = 1
        while heard:
            select.select([self._output], [], [])
            with self._hearing:
                heard = len(os.read(self._output, 1 << 16))
                self._heard += heard

    def _note_warning(self, _message: Any, category: type[Warning], *_: Any) -> None:
        self._warned.setdefault(threading.current_thread().name, set()).add(category.__name__)

    def begin(self, record: PluginRecord) -> None:
        """As `Watch.begin`."""
        super().begin(record)
        self._heard = 0

    def _said_of(self, before: ProcessState) -> list[str]:
        said = super()._said_of(before)
        if heard := self._all_heard():
            said.append(f"Importing it writes {heard} bytes to standard output or standard error; remove that.")
        return said

    def _said_by(self, record: PluginRecord) -> list[str]:
        warned = sorted(self._warned.pop(thread_name(record), ()))
        return [f"Importing it warns ({', '.join(warned)}); follow the warning."] if warned else []

    def _all_heard(self) -> int:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        deadline = time.monotonic() + 1  # it only takes long where the plugin goes on writing
        while self._waiting() and time.monotonic() < deadline:
            time.sleep(0.0005)
        return self._heard

    def _waiting(self) -> bool:
        """Whether something was written that is not heard yet."""
        with self._hearing:
            return any(fcntl.ioctl(self._output, termios.FIONREAD, b"\0\0\0\0"))
