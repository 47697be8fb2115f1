"""One-time codes: only hashes are stored, and a code that was used, that has expired, or whose client is gone is no code."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from connectory.store import clients, console_codes
from connectory.store.clients import Grant


@pytest.fixture
def client(store, now):
    with store.write() as database:
        return clients.create_client(database, name="root", scopes=["connection:read", "dataset:read"], now=now)[0]


@pytest.fixture
def code(store, client, now):
    with store.write() as database:
        return console_codes.issue_code(database, client.id, scopes=["connection:read"], now=now)[0]


def use(store, code, now):
    with store.write() as database:
        return console_codes.use_code(database, code, now=now)


def test_a_code_is_good_once_for_its_scopes_and_looking_uses_nothing_up(store, client, code, now):
    grant = Grant(client.id, "root", frozenset({"connection:read"}), now, now + console_codes.LIFETIME)
    assert len(code) == 43
    with store.read() as database:
        assert [console_codes.code_grant(database, code, now=now) for _ in range(2)] == [grant, grant]
        for nobody in ("", code[:-1], code + "x", code.swapcase(), "\x00", "\ud800"):
            assert console_codes.code_grant(database, nobody, now=now) is None
    assert [use(store, code, now) for _ in range(2)] == [grant, None]
    with store.read() as database:
        assert console_codes.code_grant(database, code, now=now) is None


def test_a_code_expires_and_is_purged_by_the_next_one(store, client, code, now):
    later = now + console_codes.LIFETIME
    assert use(store, code, later - timedelta(microseconds=1)) is not None
    with store.write() as database:
        code, _ = console_codes.issue_code(database, client.id, scopes=[], now=now)
    assert use(store, code, later) is None
    with store.write() as database:
        console_codes.issue_code(database, client.id, scopes=[], now=later)
        [held] = database.execute(text("SELECT code_hash FROM console_codes")).scalars()
    assert held != code
    assert len(held) == 64


def test_of_many_who_use_a_code_at_once_one_has_it(store, code, now):
    with ThreadPoolExecutor(6) as pool:
        grants = list(pool.map(lambda _: use(store, code, now), range(6)))
    assert len([grant for grant in grants if grant is not None]) == 1


def test_a_code_ends_with_its_client(store, client, code, now):
    with store.write() as database:
        clients.delete_client(database, client.id)
        assert database.execute(text("SELECT count(*) FROM console_codes")).scalar_one() == 0
    assert use(store, code, now) is None
