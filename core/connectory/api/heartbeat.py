"""Tells the database, again and again, that this node runs and which keys it holds."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Sequence

from sqlalchemy.engine import Connection

from connectory.api.logs import log
from connectory.store.engine import Store
from connectory.store.errors import StoreFailed, StoreUnavailable
from connectory.store.nodes import HEARTBEAT, beat, leave
from connectory.vault import Vault

PATIENCE = 3
"""Seconds that the end of the service waits for the last word to be written."""


NODE = f"{socket.gethostname()} (process {os.getpid()})"
"""Name of this node, for people."""


class Heartbeat:
    """The heartbeat of one run of the service. In a thread of its own: a store that makes writers wait holds up no request.

    Args:
        chores: what else is to be done at each heartbeat but the first; each may raise as a store does.
    """

    def __init__(self, store: Store, vault: Vault, chores: Sequence[Callable[[], None]] = ()) -> None:
        self._store, self._vault, self._chores = store, vault, chores
        self._id = str(uuid.uuid4())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """The first one is over when this returns, so that a node that serves is known."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """The node is known to have ended, unless the store does not answer within `PATIENCE`."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def beat(self) -> None:
        """Tell it now; called when the keys have changed. A store that does not answer is told with the next one."""
        self._try(lambda: self._store.write_again(self._beat))

    def _run(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            self.beat()
            for chore in self._chores:
                self._try(chore)
        self._try(lambda: self._store.write_again(self._leave))

    def _beat(self, database: Connection) -> None:
        beat(database, self._id, NODE, self._vault.ring)

    def _leave(self, database: Connection) -> None:
        leave(database, self._id)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (StoreUnavailable, StoreFailed) as error:
            log.warning("heartbeat_failed", reason=str(error))
