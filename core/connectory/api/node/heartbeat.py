"""Writes to the database, again and again, that this node runs and which keys it holds: so others know it, and it knows that it
can write. And counts, now and then, what it cannot read.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from sqlalchemy.engine import Connection

from connectory.api.http.logs import log
from connectory.store.engine import Store
from connectory.store.errors import StoreFailed, StoreUnavailable
from connectory.store.nodes import HEARTBEAT, beat, leave
from connectory.store.rotation import SecretsStatus, status
from connectory.vault import Vault

PATIENCE = 3
"""Seconds that the end of the service waits for the last word to be written."""

RETRY = 1
"""Seconds, at least, from one heartbeat to the next: after one that failed, and when it is asked for sooner."""

STALE = 3 * HEARTBEAT
"""Seconds after which a heartbeat that succeeded says nothing any more: the next one is stuck."""

COUNTED = 60
"""Seconds from one count of what cannot be read to the next. It takes 13 ms at 200,000 connections, in an index of SQLite."""


def node_name() -> str:
    """Name of this node, for people."""
    return f"{socket.gethostname()} (process {os.getpid()})"


class Heartbeat:
    """The heartbeat of one run of the service. In a thread of its own: a store that makes writers wait holds up no request.

    Args:
        chores: what else is to be done at each heartbeat but the first; each may raise as a store does.

    Attributes:
        secrets: which keys the stored secrets needed when they were counted last; `None` before the first time.
    """

    def __init__(self, store: Store, vault: Vault, chores: Sequence[Callable[[], None]] = ()) -> None:
        self._store, self._vault, self._chores = store, vault, chores
        self._id = str(uuid.uuid4())
        self._ended = threading.Event()
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._written_at: float | None = None  # None after one that failed
        self._count_at = 0.0
        self.secrets: SecretsStatus | None = None

    @property
    def writable(self) -> bool:
        """Whether the last heartbeat could be written, and is not long ago."""
        written_at = self._written_at
        return written_at is not None and time.monotonic() - written_at < STALE

    def start(self) -> None:
        """The first one is over when this returns, so that a node that serves is known."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """The node is known to have ended, unless the store does not answer within `PATIENCE`."""
        self._ended.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def beat(self) -> None:
        """Tell it now, and count; called when the keys have changed. A store that does not answer is told with the next one."""
        self._write(self._beat)
        self._count()

    def soon(self) -> None:
        """Have the next one follow within `RETRY`: the store has just failed somebody."""
        self._asked.set()

    def _run(self) -> None:
        while not self._ended.wait(RETRY):
            if self._written_at is not None:
                self._asked.wait(HEARTBEAT - RETRY)
            if self._ended.is_set():
                break
            self._asked.clear()
            self._write(self._beat)
            if time.monotonic() >= self._count_at:
                self._count()
            for chore in self._chores:
                self._do(chore)
        self._write(self._leave)

    def _beat(self, database: Connection) -> None:
        beat(database, self._id, node_name(), self._vault.ring)

    def _leave(self, database: Connection) -> None:
        leave(database, self._id)

    def _write(self, work: Callable[[Connection], None]) -> None:
        try:
            self._store.write_again(work)
        except (StoreUnavailable, StoreFailed) as error:
            self._written_at = None
            log.warning("heartbeat_failed", reason=str(error))
        else:
            self._written_at = time.monotonic()

    def _do(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except (StoreUnavailable, StoreFailed) as error:
            log.warning("heartbeat_chore_failed", reason=str(error))

    def _count(self) -> None:
        self._count_at = time.monotonic() + COUNTED
        try:
            self.secrets = status(self._store, self._vault)
        except (StoreUnavailable, StoreFailed) as error:
            log.warning("unreadable_rows_not_counted", reason=str(error))
