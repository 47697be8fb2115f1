"""`kill -9` in the middle of everything: what was acknowledged is there, nothing is half there, and nothing goes on running."""

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import func, select, text

from connectory.store.rotation import unreadable_rows
from connectory.store.tables import connection_secrets, connections, datasets
from connectory.vault import Vault
from soak.writers import Writer, stored_rows
from testkit import hostile
from testkit.restarts import Restarts
from testkit.waiting import wait_until

WRITERS = 4
HANGS = "/api/v1/connection/hangs/test"


def test_a_service_that_is_killed_5_times_loses_nothing(deployment):
    kill_again_and_again(deployment, 5)


@pytest.mark.soak
def test_a_service_that_is_killed_200_times_loses_nothing(deployment):
    kill_again_and_again(deployment, 200)


def kill_again_and_again(deployment, times):
    writers = [Writer(number, deployment.headers, tests=number == 0) for number in range(WRITERS)]
    with Restarts(deployment.home, deployment.settings) as restarts, hostile.silent() as far_end:
        for number in range(times):
            url = restarts.start()
            if number == 0:
                secrets = {"token": "t", "host": far_end.host, "port": far_end.port}
                item = {"key": "hangs", "connection_type": "till", "access": "read", "secrets": secrets}
                httpx.patch(f"{url}/api/v1/connection", headers=deployment.headers, json=[item]).raise_for_status()
            write_until_killed(restarts, url, writers, deployment.headers, far_end if number % 4 == 0 else None)
            restarts.wait_until_gone()
            settle(deployment.store)
            check(deployment, writers)


def write_until_killed(restarts, url, writers, headers, far_end):
    """Kill the service while all writers write and a test hangs; where `far_end` is given, once the test is connected to it."""
    killed, told = threading.Event(), sum(writer.acknowledged for writer in writers)
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        hanging = pool.submit(httpx.get, url + HANGS, headers=headers, timeout=60)
        before = far_end.connections if far_end else 0
        writing = [pool.submit(writer.write_until, killed, url) for writer in writers]
        if far_end:
            wait_until(lambda: far_end.connections > before or hanging.done())
        enough = told + WRITERS
        wait_until(lambda: sum(writer.acknowledged for writer in writers) >= enough or any(map(Future.done, writing)))
        time.sleep(random.uniform(0, 0.3))  # the moment is what is tried
        killed.set()
        restarts.kill()
        for writer in writing:
            writer.result()
        assert isinstance(hanging.exception(), httpx.TransportError), hanging.result().text


def settle(store):
    """PostgreSQL finishes what a client asked for that is gone: wait until it has."""
    if store.dialect == "postgresql":
        store.close()  # or our own would count
        wait_until(lambda: other_sessions(store) == 0)


def other_sessions(store):
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with store.read() as database:
        return database.execute(text(others)).scalar_one()


def check(deployment, writers):
    """The database is whole, every envelope opens, and each writer finds what it was told, or what it had asked for."""
    store, vault = deployment.store, Vault(deployment.ring)
    assert unreadable_rows(store, vault) == []
    with store.read() as database:
        if store.dialect == "sqlite":
            assert database.execute(text("PRAGMA integrity_check")).scalars().all() == ["ok"]
            assert database.execute(text("PRAGMA foreign_key_check")).all() == []
        for table in (connection_secrets, datasets):
            owned = select(connections.c.id)
            orphans = select(func.count()).select_from(table).where(table.c.connection_id.not_in(owned))
            assert database.execute(orphans).scalar_one() == 0
        rows = stored_rows(database, vault)
    for writer in writers:
        writer.compare(rows)
