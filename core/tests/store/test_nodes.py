"""Which nodes run and what they hold, and two keys under one id."""

import os
from datetime import timedelta

import pytest
from sqlalchemy import update

from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.connections import delete as delete_connection
from connectory.store.connections import get_by_key
from connectory.store.consents import LIFETIME, ask, consume, hold, new_secret, seal_code, seal_verifier
from connectory.store.envelopes import seal
from connectory.store.key_records import count_pending_consents, record_keys, recorded_fingerprints
from connectory.store.nodes import MAX_AGE, beat, leave, running_nodes
from connectory.store.tables import nodes
from connectory.vault import KeyMismatch, KeyRing, Vault

A, B, OTHER = os.urandom(32), os.urandom(32), os.urandom(32)
RING = KeyRing("a", {"a": A, "b": B})


def rows_of(store) -> dict:
    with store.read() as database:
        return {row.id: row for row in database.execute(nodes.select())}


def test_a_node_is_known_with_its_keys_until_it_leaves(store):
    with store.write() as database:
        beat(database, "1", "web-1 (process 7)", RING)
        beat(database, "2", "web-2 (process 7)", KeyRing("b", {"b": B}))
    with store.read() as database:
        first, second = running_nodes(database)
    assert (first.name, first.primary, first.fingerprints) == ("web-1 (process 7)", "a", RING.fingerprints())
    assert (second.primary, set(second.fingerprints)) == ("b", {"b"})
    assert timedelta() <= first.age < timedelta(seconds=20)
    with store.write() as database:
        leave(database, "1")
    with store.read() as database:
        assert [node.id for node in running_nodes(database)] == ["2"]


def test_the_next_heartbeat_says_what_the_node_holds_then(store):
    with store.write() as database:
        beat(database, "1", "web", RING)
        beat(database, "1", "web", RING.with_primary("b"))
    with store.read() as database:
        [node] = running_nodes(database)
    assert node.primary == "b"


def test_a_node_that_is_not_heard_of_for_long_has_ended(store):
    """And is forgotten with another's heartbeat; one that was cut off is known again with its own."""
    with store.write() as database:
        beat(database, "1", "web-1", RING)
        beat(database, "2", "web-2", RING)
    late = rows_of(store)["1"].seen_at - MAX_AGE - timedelta(seconds=1)
    with store.write() as database:
        database.execute(update(nodes).where(nodes.c.id == "1").values(seen_at=late))
    with store.read() as database:
        assert [node.id for node in running_nodes(database)] == ["2"]
    with store.write() as database:
        beat(database, "2", "web-2", RING)
    assert list(rows_of(store)) == ["2"]
    with store.write() as database:
        beat(database, "1", "web-1", RING)
    assert set(rows_of(store)) == {"1", "2"}


@pytest.fixture
def sealed_with(store, now):
    """Store a connection whose secrets are sealed with a ring's primary key."""

    def make(key: str, ring: KeyRing) -> str:
        item = SaveItem(
            key, "postgres", "database", "d", seal=lambda row: seal(Vault(ring), row, secrets=b"S", masked=b"M")
        )
        with store.write() as database:
            [saved] = save_connections(database, [item], now=now)
        return saved.connection.id

    return make


def record(store, ring: KeyRing, now) -> tuple[str, ...]:
    with store.write() as database:
        return record_keys(database, ring, now=now)


def test_every_key_of_a_ring_is_known_by_its_fingerprint(store, now):
    assert record(store, RING, now) == ()
    with store.read() as database:
        assert recorded_fingerprints(database) == RING.fingerprints()


def test_another_key_under_the_id_of_one_that_rows_need_is_named(store, now, sealed_with):
    record(store, RING, now)
    row = sealed_with("books", RING)
    assert record(store, KeyRing("b", {"a": OTHER, "b": B}), now) == ("a",)
    with pytest.raises(KeyMismatch, match="'a'"):
        record(store, KeyRing("a", {"a": OTHER}), now)
    with store.write() as database:
        delete_connection(database, row)
    assert record(store, KeyRing("a", {"a": OTHER}), now) == ()


def test_another_key_under_the_id_of_one_that_a_running_node_holds_is_named(store, now):
    """Two machines on which a key was added apart, before anything is sealed with either."""
    record(store, RING, now)
    with store.write() as database:
        beat(database, "1", "web-1", RING)
    mine = KeyRing("a", {"a": A, "b": OTHER})
    assert record(store, mine, now) == ("b",)
    with pytest.raises(KeyMismatch, match="'b'"):
        record(store, mine.with_primary("b"), now)
    with store.write() as database:
        leave(database, "1")
    assert record(store, mine, now) == ()
    with store.read() as database:
        assert recorded_fingerprints(database) == mine.fingerprints()


def test_consents_that_can_still_be_given_count_for_their_key(store, now, sealed_with):
    """The underscore is not a wildcard."""
    ring = KeyRing("k_1", {"k_1": A})
    row, state = sealed_with("books", ring), new_secret()
    with store.write() as database:
        version = get_by_key(database, "books").secrets_version
        verifier = seal_verifier(Vault(ring), state, "verifier")
        given = {"secrets_version": version, "asked_by": "client", "browser": "cookie=1", "verifier": verifier}
        assert ask(database, state, row, **given, now=now)
    with store.read() as database:
        assert count_pending_consents(database, "k_1", now=now) == 1
        assert count_pending_consents(database, "kx1", now=now) == 0
        assert count_pending_consents(database, "k_1", now=now + LIFETIME) == 0
    held = Vault(KeyRing("k_2", {"k_2": B}))
    with store.write() as database:
        hold(database, consume(database, state, now=now), new_secret(), seal_code(held, state, "code"), now=now)
    with store.read() as database:
        assert [count_pending_consents(database, kid, now=now) for kid in ("k_1", "k_2")] == [1, 1]
