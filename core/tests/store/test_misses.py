"""What is not stored costs no more to look for than what is, however many rows there are.

No clock is looked at. SQLite tells its plans, which do not depend on the rows; PostgreSQL, with very many rows of each kind, the
pages that it reads for every statement of a look-up.
"""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from connectory.store import (
    audit_search,
    client_listing,
    clients,
    connections,
    consents,
    console_codes,
    datasets,
    detail,
    discoveries,
    listing,
    schedules,
    webhooks,
)
from connectory.store.audit_search import Wanted
from connectory.store.engine import Store, open_store
from connectory.store.listing import Filters
from connectory.store.tables import metadata
from servers.postgres.server import PostgresServer
from testkit.statements import cursors_that_tell

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STORED, ABSENT = "k-001234", "k-999999x"
"""By the first there is one row of each kind; by the second none."""
FEW = 16
"""Pages: a look-up in each of three indexes, of four levels."""
MANY = 60
"""Pages that no look-up of one thing reads; each of the tables has more."""
MANY_OF_SEARCH = 150
"""The same of a search: an index of trigrams has a list of rows for each of them. The table has 5,000 at 200,000 rows."""

# One row of each kind for every number.
FILL = [
    """INSERT INTO connections (id, key, name, connection_type, system_type, distribution, access, disabled, created_at,
       updated_at, version, secrets_version, search_text, number)
       SELECT {key}, {key}, {key}, 'postgres', 'database', 'd', 'read', false, {now}, {now}, 1, 1, {key}, i""",
    "INSERT INTO connection_secrets (connection_id, secrets_sealed, masked_sealed) SELECT {key}, '', ''",
    "INSERT INTO clients (id, name, secret_hash, scopes, created_at) SELECT {key}, 'c', '', '', {now}",
    """INSERT INTO client_tokens (token_hash, client_id, scopes, created_at, expires_at)
       SELECT encode(sha256({key}::bytea), 'hex'), {key}, '', {now}, {later}""",
    """INSERT INTO datasets (id, connection_id, fides_key, dataset, created_at, updated_at)
       SELECT {key}, {key}, {key}, '{{}}', {now}, {now}""",
    """INSERT INTO audit (at, actor, action, connection_id, connection_key, changed_fields, result_code, object)
       SELECT {now}, {key}, {key}, {key}, {key}, '[]', {key}, {key}""",
]
GROWING = "|".join(metadata.tables.keys() - {"nodes", "key_ids", "schema_compatibility"})

STATE = consents.new_secret()
Find = Callable[[Connection, str], object]
LOOKUPS: dict[str, Find] = {
    "a connection": detail.get_detail,
    "a connection by its id": connections.get_by_id,
    "a connection to change": lambda database, key: connections.lock_by_keys(database, [key]),
    "connections": lambda database, key: connections.find_by_keys(database, [key]),
    "a connection to delete": connections.delete,
    "part of a name": lambda database, key: listing.list_connections(database, Filters(search=key))[0],
    "a dataset": lambda database, key: datasets.get(database, key, key),
    "a dataset to delete": lambda database, key: datasets.delete(database, key, key),
    "datasets of a connection": lambda database, key: datasets.list_datasets(database, key)[0],
    "datasets of other connections": lambda database, key: datasets.keys_of_others(database, "", [key]),
    "a client": lambda database, key: client_listing.listed_client(database, key, now=NOW),
    "a client who logs in": clients.client_name,
    "a client to delete": clients.delete_client,
    "a token": lambda database, key: clients.verify_token(database, key, now=NOW),
    "a token and its client": lambda database, key: clients.token_grant(database, key, now=NOW),
    "a token to revoke": lambda database, key: clients.revoke_token(database, key, key),
    "a token by its id": lambda database, key: client_listing.delete_token(database, key, clients.hash_of(key)[:16]),
    "tokens of a client": lambda database, key: client_listing.page_of_tokens(database, key, now=NOW, page=1, size=9)[
        0
    ],
    "tokens to revoke": clients.revoke_tokens,
    **{
        f"entries by {name}": lambda database, key, name=name: audit_search.list_entries(
            database, Wanted(**{name: [key] if name == "actions" else key}), page=1, size=9
        )[0]
        for name in ("actor", "actions", "connection_key", "object", "result_code")
    },
}
ONLY_PLANS: dict[str, Find] = {
    "a code": lambda database, key: console_codes.code_grant(database, key, now=NOW),
    "a consent": lambda database, _: consents.is_pending(database, STATE, now=NOW),
    "a consent to confirm": lambda database, key: consents.confirm(database, key, STATE, now=NOW),
    "a discovery": lambda database, key: discoveries.get_discovery(database, key, key),
    "discoveries": lambda database, key: list(discoveries.reports_of(database, key, 1)),
    "a schedule": schedules.get_schedule,
    "a schedule to delete": schedules.delete_schedule,
    "a webhook": webhooks.get_webhook,
    "a webhook to delete": webhooks.delete_webhook,
    "what is due": lambda database, _: schedules.claim(database, 9, now=NOW, lasts=timedelta(minutes=1)),
    "what webhooks are told": lambda database, _: webhooks.claim_events(
        database, 9, now=NOW, lasts=timedelta(minutes=1)
    ),
}
"""Of tables that are not filled: each belongs to one connection or client, or lasts for minutes."""


def statements_of(database: Connection, find: Find, key: str) -> list[tuple[str, Any]]:
    """What a look-up asks of PostgreSQL, and with which values; what it changes is undone."""
    asked: list[tuple[str, Any]] = []
    driver: Any = database.connection.driver_connection
    with database.begin_nested() as savepoint:
        driver.cursor_factory = cursors_that_tell(lambda *told: asked.append(told))
        try:
            find(database, key)
        finally:
            driver.cursor_factory = None
        savepoint.rollback()
    return [(statement, values) for statement, values in asked if "SAVEPOINT" not in statement]


@pytest.mark.parametrize("name", LOOKUPS | ONLY_PLANS)
def test_sqlite_scans_no_table_for_what_is_not_stored(sqlite: Store, name: str):
    statements: list[str] = []
    with sqlite.writes.connect() as database:
        driver = cast("sqlite3.Connection", database.connection.driver_connection)
        driver.set_trace_callback(statements.append)  # with the values in them, and whoever runs them
        (LOOKUPS | ONLY_PLANS)[name](database, ABSENT)
        driver.set_trace_callback(None)
        statements = [text for text in statements if not text.startswith(("BEGIN", "PRAGMA", "--"))]
        assert statements
        for statement in statements:
            plan = [row[-1] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert not [step for step in plan if re.match(rf"SCAN ({GROWING})\b", step)], (statement, plan)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("misses")
    shutil.copy(sqlite_template, folder / "connectory.db")
    with open_store(f"sqlite:///{folder / 'connectory.db'}") as store:
        yield store


@pytest.fixture(scope="module", params=[10_000, pytest.param(200_000, marks=pytest.mark.soak)])
def full(request: pytest.FixtureRequest, postgres: PostgresServer, postgres_template: str) -> Iterator[Store]:
    """PostgreSQL with so many rows of each kind."""
    name = f"misses_{request.param}"
    postgres.copy_database(postgres_template, name)
    with open_store(
        f"postgresql://{postgres.superuser}:{postgres.password}@{postgres.host}:{postgres.port}/{name}"
    ) as store:
        with store.writes.begin() as database:
            database.exec_driver_sql("SET LOCAL statement_timeout = 0")
            database.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no foreign keys, row by row
            for statement in FILL:
                filled = statement.format(key="'k-' || lpad(i::text, 6, '0')", now=f"'{NOW}'", later="'2027-01-01'")
                database.exec_driver_sql(f"{filled} FROM generate_series(1, {request.param}) AS i")
        with store.writes.connect().execution_options(isolation_level="AUTOCOMMIT") as database:
            database.exec_driver_sql("VACUUM ANALYZE")  # what autovacuum does within a minute
        yield store
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("name", LOOKUPS)
def test_postgresql_reads_no_more_pages_for_it_than_for_what_is_stored(full: Store, name: str):
    with full.writes.connect() as database:
        hit, miss = (pages_of(database, LOOKUPS[name], key) for key in (STORED, ABSENT))
    assert 0 < miss <= max(1.5 * hit, FEW), (hit, miss)
    assert hit <= (MANY_OF_SEARCH if name == "part of a name" else MANY), hit


def pages_of(database: Connection, find: Find, key: str) -> int:
    """Pages that the statements of a look-up read, wherever they come from. None scans a table."""
    pages = 0
    for statement, values in statements_of(database, find, key):
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        with database.begin_nested() as savepoint:
            [[explained]] = database.exec_driver_sql(explain, values).scalars()
            savepoint.rollback()
        assert "Seq Scan" not in json.dumps(explained), statement
        pages += explained["Plan"]["Shared Hit Blocks"] + explained["Plan"]["Shared Read Blocks"]
    return pages
