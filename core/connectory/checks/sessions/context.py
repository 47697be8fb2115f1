"""The `SessionContext` that a connector sees inside its process: a test's context whose time begins anew."""

from __future__ import annotations

import time
from collections.abc import Callable

from connectory.checks.addresses import VettedAddresses
from connectory.checks.context import ChildContext, left_until
from connectory.checks.prepared import Emit
from connectory.checks.protocol import Job
from connectory.contract.session import SessionContext


class ChildSessionContext(ChildContext, SessionContext):
    """What one session may use.

    Args:
        job: what the session is opened with.
        addresses: name resolution under the deployer's egress policy.
        emit: sends one event to the service, where it wants any.
        tell_login: sends the service the name of a login.
    """

    def __init__(
        self, job: Job, addresses: VettedAddresses, emit: Emit, tell_login: Callable[[str], None] = lambda _: None
    ) -> None:
        self._is_open = False
        self._tell_login = tell_login
        self._patience = 0.0
        self._over_at = job.over_at
        self._read_only = job.read_only
        super().__init__(
            killed_at=job.killed_at,
            addresses=addresses,
            settings=job.settings,
            emit=emit,
            cleartext_unverified=job.cleartext_unverified,
        )

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def time_in_all(self) -> float:
        return left_until(self._over_at)

    def report_login(self, name: str) -> None:
        self._tell_login(name)

    def opened(self) -> None:
        """The session is open: from now on there may be any number of steps, which nobody is told."""
        self._is_open = True

    def begin(self, patience: float, over_at: float) -> None:
        """An operation begins.

        Args:
            patience: seconds that it may take for each part of its answer.
            over_at: when it must be over, on `time.monotonic()`.
        """
        self._patience, self._over_at = patience, over_at
        self.renew()

    def renew(self) -> None:
        """A part of the answer is passed on: there is time for the next."""
        self._killed_at = min(time.monotonic() + self._patience, self._over_at)

    def _count_step(self) -> None:
        if self._is_open:
            self._count += 1
        else:
            super()._count_step()
