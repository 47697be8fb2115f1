"""Consents that were asked for: found by their state, once, within ten minutes."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from connectory.store import connections
from connectory.store.consents import (
    LIFETIME,
    Asked,
    ask,
    consume,
    is_pending,
    new_state,
    open_verifier,
    seal_verifier,
)
from connectory.vault import KeyRing, Tampered, Vault

VAULT = Vault(KeyRing("k", {"k": os.urandom(32)}))
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def connection(store, save_one):
    with store.write() as database:
        return save_one(database, "crm", "salesforce", "saas", name="CRM")


def asked(store, connection, now, verifier=None, secrets_version=0) -> str:
    state = new_state()
    with store.write() as database:
        assert ask(database, state, connection.id, secrets_version=secrets_version, verifier=verifier, now=now)
    return state


def use(store, state, now) -> Asked | None:
    with store.write() as database:
        return consume(database, state, now=now)


def pending(store, state, now) -> bool:
    with store.read() as database:
        return is_pending(database, state, now=now)


def test_a_state_is_used_once(store, connection, now):
    state = asked(store, connection, now)
    assert pending(store, state, now)
    assert use(store, state, now) == Asked(connection.id, 0, None)
    assert use(store, state, now) is None
    assert not pending(store, state, now)


def test_states_are_random_and_stored_as_a_hash_only(store, connection, now):
    states = {asked(store, connection, now) for _ in range(20)}
    assert len(states) == 20
    assert {len(state) for state in states} == {43}
    with store.read() as database:
        rows = str(database.execute(text("SELECT * FROM authorizations")).all())
    assert not any(state in rows for state in states)


def test_of_several_at_once_one_gets_it(store, connection, now):
    state = asked(store, connection, now)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: use(store, state, now), range(6)))
    assert sum(one is not None for one in found) == 1


@pytest.mark.parametrize("state", ["", "x", "a" * 43, "a" * 44, "ü" * 43, "\x00" * 43, "a" * 100_000, "\ud800"])
def test_a_forged_state_finds_nothing(store, connection, now, state):
    asked(store, connection, now)
    assert not pending(store, state, now)
    assert use(store, state, now) is None


def test_a_state_expires_after_ten_minutes(store, connection, now):
    in_time, too_late = asked(store, connection, now), asked(store, connection, now)
    assert timedelta(minutes=10) == LIFETIME
    assert use(store, in_time, now + LIFETIME - MOMENT) is not None
    assert not pending(store, too_late, now + LIFETIME)
    assert use(store, too_late, now + LIFETIME) is None
    assert use(store, too_late, now) is None


def test_expired_ones_are_purged_when_the_next_is_asked_for(store, connection, now):
    asked(store, connection, now)
    asked(store, connection, now + LIFETIME)
    with store.read() as database:
        assert database.execute(text("SELECT count(*) FROM authorizations")).scalar_one() == 1


def test_it_is_asked_for_the_secrets_that_are_stored_or_not_at_all(store, connection, now):
    with store.write() as database:
        for connection_id, version in ((connection.id, 1), ("no such connection", 0)):
            assert not ask(database, new_state(), connection_id, secrets_version=version, verifier=None, now=now)


def test_a_deleted_connection_takes_its_states_along(store, connection, now):
    state = asked(store, connection, now)
    with store.write() as database:
        connections.delete(database, connection.id)
    assert use(store, state, now) is None


def test_a_verifier_is_sealed_for_its_state(store, connection, now):
    state = new_state()
    with store.write() as database:
        sealed = seal_verifier(VAULT, state, "the-verifier")
        ask(database, state, connection.id, secrets_version=0, verifier=sealed, now=now)
        stored = str(database.execute(text("SELECT * FROM authorizations")).all())
    assert "the-verifier" not in stored
    found = use(store, state, now)
    assert "cs1." not in repr(found)
    assert open_verifier(VAULT, state, found.verifier) == "the-verifier"
    with pytest.raises(Tampered):
        open_verifier(VAULT, new_state(), found.verifier)
