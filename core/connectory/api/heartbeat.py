"""Tells the database, again and again, that this node runs and which keys it holds."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable

from sqlalchemy.engine import Connection

from connectory.api.logs import log
from connectory.store.engine import Store
from connectory.store.errors import StoreFailed, StoreUnavailable
from connectory.store.nodes import HEARTBEAT, beat, leave
from connectory.vault import Vault

PATIENCE = 3
"""Seconds that the end of the service waits for the last word to be written."""


class Heartbeat:
    """The heartbeat of one run of the service. In a thread of its own: a store that makes writers wait holds up no request."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store, self._vault = store, vault
        self._id = str(uuid.uuid4())
        self._name = f"{socket.gethostname()} (process {os.getpid()})"
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
        self._write(lambda database: beat(database, self._id, self._name, self._vault.ring))

    def _run(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            self.beat()
        self._write(lambda database: leave(database, self._id))

    def _write(self, work: Callable[[Connection], None]) -> None:
        try:
            self._store.write_again(work)
        except (StoreUnavailable, StoreFailed) as error:
            log.warning("heartbeat_failed", reason=str(error))
