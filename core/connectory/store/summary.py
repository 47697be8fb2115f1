"""How many connections there are, by what a list can be filtered by: one walk through the index of the filters."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from connectory.store.tables import connections


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers of connections.

    Attributes:
        by_type: of each connection type that one has.
        passed, failed, untested: by the last test of the secrets stored now.
        by_failure_code: of those that failed.
        of_other_types: of none of the types that were given.
        of_other_keys: with secrets that none of the keys sealed that were given.
    """

    total: int = 0
    disabled: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    passed: int = 0
    failed: int = 0
    untested: int = 0
    by_failure_code: Counter[str] = field(default_factory=Counter)
    of_other_types: int = 0
    of_other_keys: int = 0


_COLUMNS = [
    connections.c[name]
    for name in (
        "connection_type",
        "system_type",
        "disabled",
        "last_test_succeeded",
        "last_failure_code",
        "secrets_kid",
    )
]
# By all columns of the index, in its order: SQLite then counts as it walks, and sorts nothing.
_GROUPS = select(*_COLUMNS, func.count()).group_by(*_COLUMNS)


def summarize(database: Connection, *, types: Collection[str], kids: Collection[str]) -> Summary:
    """Count all connections.

    Args:
        types: the connection types that there are connectors of.
        kids: ids of the keys that can be used.
    """
    by_type, by_code = Counter[str](), Counter[str]()
    by_status = Counter[bool | None]()
    disabled = of_other_types = of_other_keys = 0
    for row in database.execute(_GROUPS):
        kind, _, is_disabled, succeeded, code, kid, number = tuple(row)
        by_type[kind] += number
        by_status[succeeded] += number
        if is_disabled:
            disabled += number
        if succeeded is False and code is not None:  # see `StoredConnection.last_failure_code`
            by_code[code] += number
        if kind not in types:
            of_other_types += number
        if kid is not None and kid not in kids:
            of_other_keys += number
    return Summary(
        total=by_type.total(),
        disabled=disabled,
        by_type=by_type,
        passed=by_status[True],
        failed=by_status[False],
        untested=by_status[None],
        by_failure_code=by_code,
        of_other_types=of_other_types,
        of_other_keys=of_other_keys,
    )
