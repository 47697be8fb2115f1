"""Data sessions of one connector in the test's own process: what the tests of the SQL connectors share."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connectory import Connector
from connectory.catalog.loaded import LoadedConnector
from connectory.checks.addresses import VettedAddresses
from connectory.checks.context import ChildContext
from connectory.checks.egress import EgressPolicy
from connectory.data import CollectionInfo, CollectionRef, DataSession, Read, Rows, SessionContext
from connectory.testing import Session, Workbench, parse_secrets
from testkit.waiting import wait_until


class SessionInProcess(ChildContext, SessionContext):
    """The context of a session that nobody kills."""

    def __init__(
        self, *, read_only: bool, timeout: float, in_all: float | None, settings: Mapping[str, Any], cleartext: bool
    ) -> None:
        super().__init__(
            killed_at=time.monotonic() + timeout,
            addresses=VettedAddresses(EgressPolicy(allow_loopback=True), on_denial=lambda: None),
            settings=settings,
            emit=lambda _: None,
            cleartext_unverified=cleartext,
        )
        self._read_only = read_only
        self._in_all = in_all
        self.login = ""

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def time_in_all(self) -> float:
        return self.timeout if self._in_all is None else self._in_all

    def report_login(self, name: str) -> None:
        self.login = name


@contextmanager
def opened(
    connector: Connector[Any],
    secrets: Mapping[str, Any],
    *,
    read_only: bool = True,
    timeout: float = 30,
    in_all: float | None = None,
    settings: Mapping[str, Any] | None = None,
    cleartext: bool = False,
) -> Iterator[DataSession]:
    """A session by `connector`, with what its `settings` are for the deployer. It ends `in_all` seconds later."""
    context = SessionInProcess(
        read_only=read_only, timeout=timeout, in_all=in_all, settings=settings or {}, cleartext=cleartext
    )
    session = connector.open_session(parse_secrets(connector.secrets, secrets), context)
    try:
        yield session
    finally:
        session.close()


def read_and_kill(
    workbench: Workbench,
    connector: LoadedConnector,
    secrets: Mapping[str, Any],
    query: Read,
    running: Callable[[], bool],
) -> None:
    """Kill a session while its server runs a query, and see that it is soon not running any more.

    Args:
        workbench: runs the session as the service does.
        connector: of the session.
        secrets: to log in with.
        query: what never gives a row.
        running: whether the server runs the query.
    """

    async def scenario(session: Session) -> None:
        reading = asyncio.ensure_future(anext(session.read(query)))
        try:
            await asyncio.to_thread(wait_until, running)
        finally:
            reading.cancel()

    workbench.use(connector, secrets, scenario, seconds=60)
    wait_until(lambda: not running(), seconds=5)


def found(session: DataSession, **namespace: str) -> dict[str, CollectionInfo]:
    """What the session discovers, by name."""
    return {collection.ref.name: collection for collection in session.discover(namespace or None)}


def rows(
    session: DataSession, ref: CollectionRef, *fields: str, any_of: tuple[Rows, ...] = ()
) -> list[tuple[Any, ...]]:
    """The rows of some columns, sorted."""
    query = Read(ref, tuple((field,) for field in fields), any_of)
    return sorted(row for batch in session.read(query, 2000) for row in batch.rows)


def among(*fields: str, values: list[tuple[Any, ...]]) -> Rows:
    """Rows that have one of these values in these columns."""
    return Rows(tuple((field,) for field in fields), values)
