"""Data sessions of one connector in the test's own process: what the tests of the SQL connectors share."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connectory import Connector
from connectory.checks.addresses import VettedAddresses
from connectory.checks.context import ChildContext
from connectory.checks.egress import EgressPolicy
from connectory.data import CollectionInfo, CollectionRef, DataSession, Read, Rows, SessionContext
from connectory.testing import parse_secrets


class SessionInProcess(ChildContext, SessionContext):
    """The context of a session that nobody kills."""

    def __init__(self, *, read_only: bool, timeout: float, settings: Mapping[str, Any], cleartext: bool) -> None:
        super().__init__(
            killed_at=time.monotonic() + timeout,
            addresses=VettedAddresses(EgressPolicy(allow_loopback=True), on_denial=lambda: None),
            settings=settings,
            emit=lambda _: None,
            cleartext_unverified=cleartext,
        )
        self._read_only = read_only

    @property
    def read_only(self) -> bool:
        return self._read_only


@contextmanager
def opened(
    connector: Connector[Any],
    secrets: Mapping[str, Any],
    *,
    read_only: bool = True,
    timeout: float = 30,
    settings: Mapping[str, Any] | None = None,
    cleartext: bool = False,
) -> Iterator[DataSession]:
    """A session by `connector`, with what its `settings` are for the deployer."""
    context = SessionInProcess(read_only=read_only, timeout=timeout, settings=settings or {}, cleartext=cleartext)
    session = connector.open_session(parse_secrets(connector.secrets, secrets), context)
    try:
        yield session
    finally:
        session.close()


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
