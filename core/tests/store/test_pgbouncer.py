"""A store behind a PgBouncer that gives each transaction another connection of the server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import text

from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.engine import Store, open_store
from connectory.store.errors import StoreFailed, StoreUnavailable
from connectory.store.listing import Filters, list_connections
from connectory.store.patience import patient_until
from connectory.store.schema import is_usable, upgrade
from servers.postgres.pgbouncer import PgBouncer

LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone")
SHOWN = text("SELECT " + ", ".join(f"current_setting('{name}')" for name in LIMITS))
AS_SET = ("10s", "4500ms", "1min", "UTC")


@pytest.fixture(scope="module")
def pgbouncer(postgres) -> Iterator[PgBouncer]:
    with PgBouncer(postgres, size=3) as server:
        yield server


@pytest.fixture
def pooled_url(pgbouncer, postgres, postgres_url) -> str:
    return postgres_url.replace(f":{postgres.port}/", f":{pgbouncer.port}/")


@pytest.fixture
def pooled(pooled_url) -> Iterator[Store]:
    with open_store(pooled_url) as store:
        yield store


def test_an_upgrade_and_work_of_many_threads_on_few_connections(pgbouncer, postgres, blank_postgres_url, now):
    with open_store(blank_postgres_url.replace(f":{postgres.port}/", f":{pgbouncer.port}/")) as store:
        upgrade(store)
        assert is_usable(store)

        def save_and_list(number: int) -> int:
            with store.write() as database:
                save_connections(database, [SaveItem(f"k{number}", "postgres", "database", "d")], now=now)
            with store.read() as database:
                return list_connections(database, Filters())[1]

        with ThreadPoolExecutor(8) as pool:
            assert max(pool.map(save_and_list, range(40))) == 40


def test_every_transaction_has_its_limits_and_leaves_none_behind(pooled, pooled_url):
    for transaction in (pooled.read, pooled.write, pooled.look):
        with transaction() as database:
            assert tuple(database.execute(SHOWN).one()) == AS_SET
    with pooled.write() as database:
        database.execute(text("CREATE TABLE many (x int)"))
    with pooled.write() as database:
        database.execute(text("INSERT INTO many VALUES (:x)"), [{"x": 1}, {"x": 2}])
        assert tuple(database.execute(SHOWN).one()) == AS_SET
        assert database.execute(text("SELECT count(*) FROM many")).scalar_one() == 2
    with closing(psycopg2.connect(pooled_url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('default_transaction_read_only')")
        assert cursor.fetchone() == ("0", "off")


def test_a_writer_that_has_waited_in_a_line_waits_for_the_rest_only(pooled):
    with patient_until(0.0), pooled.write() as database:
        assert database.execute(text("SHOW lock_timeout")).scalar_one() == "1ms"
        assert database.execute(text("SHOW statement_timeout")).scalar_one() == "10s"


def test_what_only_reads_cannot_write(pooled):
    for transaction in (pooled.read, pooled.look):
        with pytest.raises((StoreUnavailable, StoreFailed), match="25006"), transaction() as database:
            database.execute(text("DELETE FROM connections"))


def test_no_round_trip_is_added(pooled, postgres_url):
    """The limits travel with the first statement; without a pooler nothing does."""
    with open_store(postgres_url) as direct:
        sent = {}
        for name, store in (("direct", direct), ("pooled", pooled)):
            for kind in ("write", "look"):
                with getattr(store, kind)() as database:
                    result = database.execute(text("SELECT 1"))
                    sent[name, kind] = result.cursor.query.decode().count(";")
    assert sent == {("direct", "write"): 0, ("direct", "look"): 0, ("pooled", "write"): 4, ("pooled", "look"): 5}


def test_a_node_opens_no_more_connections_than_it_is_told(postgres_url, postgres):
    name = postgres_url.rsplit("/", 1)[1]
    counting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    with open_store(postgres_url, pool_size=8) as store:

        def work(_: int) -> int:
            with store.write() as database:
                database.execute(text("SELECT pg_sleep(0.05)"))
            with store.read() as database:
                database.execute(text("SELECT pg_sleep(0.05)"))
            return postgres.execute(counting, name)[0][0]

        with ThreadPoolExecutor(12) as pool:
            assert 4 <= max(pool.map(work, range(12))) <= 8
