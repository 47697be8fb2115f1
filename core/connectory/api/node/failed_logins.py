"""Failed logins in the audit trail: told at once, and so few that guessing cannot fill the store."""

from __future__ import annotations

import time
from collections import Counter
from threading import Lock

from connectory.api.http.logs import log
from connectory.store.audit import Actor, AuditEntry, append
from connectory.store.engine import Store
from connectory.store.errors import StoreFailed, StoreUnavailable

WINDOW = 60.0
"""Seconds in which one client and address have one entry of their own, and one more for how often they went on."""

MOST = 20
"""Clients and addresses that have entries of their own in a window. Those of further addresses are counted for each client."""

UNKNOWN = "unknown"
"""The actor of a login with an id that no client has. What was sent is kept nowhere: it may be a secret."""

_Caller = tuple[str, str | None]


class FailedLogins:
    """Of one node. Safe to share between threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._since = time.monotonic()
        self._known: set[_Caller] = set()
        self._untold: Counter[_Caller] = Counter()

    def note(self, who: Actor, address: str) -> None:
        """One more. `who` is the client whose id was sent, or `UNKNOWN`.

        Its entry is written at once if it is the first of its client and address in this window; else it is counted.
        """
        self.flush()
        caller: _Caller = who.id, address
        with self._lock:
            first = caller not in self._known and len(self._known) < MOST
            if first:
                self._known.add(caller)
            else:
                self._untold[caller if caller in self._known else (who.id, None)] += 1
        if first and not self._write(_entry(who, address, 1)):
            with self._lock:
                self._untold[caller] += 1

    def flush(self) -> None:
        """Tell of those that were only counted, once the window is over. What cannot be written is kept for the next time."""
        with self._lock:
            if time.monotonic() - self._since < WINDOW:
                return
        self.end()

    def end(self) -> None:
        """Tell of those that were only counted, now."""
        with self._lock:
            untold, self._untold = self._untold, Counter()
            self._since = time.monotonic()  # also where it fails: nobody who logs in waits for each attempt
        if not self._write(*(_entry(Actor(client), address, times) for (client, address), times in untold.items())):
            with self._lock:
                self._untold.update(untold)
            return
        with self._lock:
            self._known.clear()

    def _write(self, *entries: AuditEntry) -> bool:
        if not entries:
            return True
        try:
            with self._store.write() as database:
                append(database, *entries)
        except (StoreUnavailable, StoreFailed) as problem:
            log.warning("audit_entries_wait", action="login_failed", reason=str(problem))
            return False
        return True


def _entry(who: Actor, address: str | None, times: int) -> AuditEntry:
    place = {} if address is None else {"address": address}
    return who.did("login_failed", result_code="401", details={**place, "times": times})
