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
    confirm,
    consume,
    hold,
    is_pending,
    new_secret,
    open_code,
    open_verifier,
    seal_code,
    seal_verifier,
)
from connectory.vault import KeyRing, Tampered, Vault

VAULT = Vault(KeyRing("k", {"k": os.urandom(32)}))
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def connection(store, save_one):
    with store.write() as database:
        return save_one(database, "crm", "salesforce", "saas", name="CRM")


def asked(store, connection, now, verifier=None, secrets_version=0, state=None) -> str:
    state = state or new_secret()
    with store.write() as database:
        given = {"secrets_version": secrets_version, "asked_by": "client", "browser": "cookie=1", "verifier": verifier}
        assert ask(database, state, connection.id, **given, now=now)
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
    found = use(store, state, now)
    assert (found.connection_id, found.secrets_version, found.asked_by, found.verifier) == (
        connection.id,
        0,
        "client",
        None,
    )
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
            given = {"secrets_version": version, "asked_by": "client", "browser": "cookie=1", "verifier": None}
            assert not ask(database, new_secret(), connection_id, **given, now=now)


def test_a_deleted_connection_takes_its_states_along(store, connection, now):
    state = asked(store, connection, now)
    with store.write() as database:
        connections.delete(database, connection.id)
    assert use(store, state, now) is None


def test_a_verifier_is_sealed_for_its_state(store, connection, now):
    state, other = new_secret(), new_secret()
    asked(store, connection, now, seal_verifier(VAULT, state, "the-verifier"), state=state)
    with store.read() as database:
        stored = str(database.execute(text("SELECT * FROM authorizations")).all())
    assert "the-verifier" not in stored
    found = use(store, state, now)
    assert "cs1." not in repr(found)
    assert open_verifier(VAULT, found) == "the-verifier"
    asked(store, connection, now, found.verifier, state=other)
    with pytest.raises(Tampered):
        open_verifier(VAULT, use(store, other, now))


# The browser, and consents that are held


def test_the_browser_that_asked_is_known_by_what_it_was_given(store, connection, now):
    found = use(store, asked(store, connection, now), now)
    assert found.is_from("cookie=1")
    assert not found.is_from("cookie=2")
    assert not found.is_from("")
    assert "browser" not in repr(found)


def test_one_that_was_asked_for_before_browsers_were_known_is_from_none(store, connection, now):
    state = asked(store, connection, now)
    with store.write() as database:
        database.execute(text("UPDATE authorizations SET browser_hash = NULL, asked_by = NULL"))
    found = use(store, state, now)
    assert (found.asked_by, found.is_from("cookie=1"), found.is_from("")) == (None, False, False)


@pytest.fixture
def held(store, connection, now):
    """A consent that is held, with its state, and what it is confirmed by."""
    state, confirmation = new_secret(), new_secret()
    asked(store, connection, now, seal_verifier(VAULT, state, "the-verifier"), state=state)
    with store.write() as database:
        hold(database, consume(database, state, now=now), confirmation, seal_code(VAULT, state, "the-code"), now=now)
    return state, confirmation


def confirmed(store, connection_id, confirmation, now) -> Asked | None:
    with store.write() as database:
        return confirm(database, connection_id, confirmation, now=now)


def test_a_held_consent_is_confirmed_once_and_not_found_by_its_state(store, connection, now, held):
    state, confirmation = held
    assert not pending(store, state, now)
    assert use(store, state, now) is None
    found = confirmed(store, connection.id, confirmation, now + LIFETIME - MOMENT)
    assert (open_code(VAULT, found), open_verifier(VAULT, found)) == ("the-code", "the-verifier")
    assert (found.asked_by, found.is_from("cookie=1")) == ("client", True)
    assert confirmed(store, connection.id, confirmation, now) is None


def test_it_is_confirmed_for_its_connection_in_time_and_by_nothing_else(store, connection, now, held):
    state, confirmation = held
    for connection_id, given in (("another", confirmation), (connection.id, state), (connection.id, "x")):
        assert confirmed(store, connection_id, given, now) is None
    assert confirmed(store, connection.id, confirmation, now + LIFETIME) is None


def test_nothing_of_a_held_consent_is_stored_in_clear(store, held):
    with store.read() as database:
        stored = str(database.execute(text("SELECT * FROM authorizations")).all())
    assert not any(secret in stored for secret in (*held, "the-code", "cookie=1"))
