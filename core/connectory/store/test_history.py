"""The last tests of each connection: what became of them, who asked for them, and which secrets they were of."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy.engine import Connection

from connectory.store.connections import record_test
from connectory.store.paging import load_page, paged
from connectory.store.prepared import Prepared
from connectory.store.tables import connection_tests

MOST_KEPT = 100
"""Tests of a connection that are kept."""

_EACH = 10
"""Tests after which those that are too many are dropped, all at once: so that most tests cost one statement."""


@dataclass(frozen=True, slots=True)
class PastTest:
    """A test that was recorded.

    Attributes:
        actor: who asked for it: the id of a client.
        secrets_version: of the secrets that were tested.
        report: JSON text, as it was recorded.
    """

    at: datetime
    actor: str
    secrets_version: int
    report: str


_OWN = connection_tests.c.connection_id == bindparam("owner")
_NEWEST = select(func.coalesce(func.max(connection_tests.c.number), 0)).where(_OWN).scalar_subquery()
_APPEND = Prepared(
    insert(connection_tests)
    .values(
        connection_id=bindparam("owner"),
        number=_NEWEST + 1,
        at=bindparam("at"),
        actor=bindparam("actor"),
        secrets_version=bindparam("secrets_version"),
        succeeded=bindparam("succeeded"),
        report=bindparam("report"),
    )
    .returning(connection_tests.c.number)
)
_DROP = delete(connection_tests).where(_OWN, connection_tests.c.number <= bindparam("oldest"))
_KEPT = _OWN, connection_tests.c.number > _NEWEST - MOST_KEPT
_COUNT = select(func.count()).select_from(connection_tests).where(*_KEPT)
_NEWEST_FIRST = paged(
    select(
        connection_tests.c.at,
        connection_tests.c.actor,
        connection_tests.c.secrets_version,
        connection_tests.c.report,
    )
    .where(*_KEPT)
    .order_by(connection_tests.c.number.desc())
)


def record_in_history(
    database: Connection,
    connection_id: str,
    *,
    secrets_version: int,
    succeeded: bool,
    failure_code: str | None = None,
    report: str,
    actor: str,
    at: datetime,
) -> bool:
    """Store the result of a test as `connections.record_test` does, and keep it beside the earlier ones.

    Args:
        secrets_version: of the secrets that were tested.
        failure_code: why it failed; None where it succeeded.
        report: JSON text, which `list_tests` gives back.
        actor: who asked for it.

    Returns:
        False if other secrets were stored during the test, or the connection was deleted; then nothing is recorded.
    """
    if not record_test(
        database,
        connection_id,
        secrets_version=secrets_version,
        succeeded=succeeded,
        failure_code=failure_code,
        report=report,
        at=at,
    ):
        return False
    # Two that are recorded at once do not count alike: this transaction holds the connection's row.
    values = {
        "owner": connection_id,
        "at": at,
        "actor": actor,
        "secrets_version": secrets_version,
        "succeeded": succeeded,
        "report": report,
    }
    [(number,)] = _APPEND.all(database, values)
    if number % _EACH == 0 and number > MOST_KEPT:
        database.execute(_DROP, {"owner": connection_id, "oldest": number - MOST_KEPT})
    return True


def list_tests(
    database: Connection, connection_id: str, *, page: int = 1, size: int = 50
) -> tuple[list[PastTest], int]:
    """One page of the last `MOST_KEPT` tests of a connection, newest first, and how many there are.

    Args:
        page: from 1, of any magnitude; past the end there are no rows.
        size: rows to a page, at least 1.
    """
    owner = {"owner": connection_id}
    found, total = load_page(database, _COUNT, lambda _: _NEWEST_FIRST, owner, page=page, size=size)
    return [PastTest(*tuple(row)) for row in found], total
