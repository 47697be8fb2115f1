"""Tokens of a connection: one envelope of their own, which lives and dies with the secrets they were obtained with."""

import os

import pytest
from sqlalchemy import text

from connectory.store import connections
from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.envelopes import (
    load_envelopes,
    load_tokens,
    open_secrets,
    open_tokens,
    seal,
    seal_tokens,
)
from connectory.store.key_records import record_keys
from connectory.store.rotation import RotationResult, rotate, status, unreadable_rows
from connectory.store.sealed_rows import UnreadableRow
from connectory.store.token_turns import replace_tokens
from connectory.vault import KeyMismatch, KeyRing, Tampered, Vault

OLD, NEW = os.urandom(32), os.urandom(32)
BEFORE = Vault(KeyRing("old", {"old": OLD}))
AFTER = Vault(KeyRing("new", {"old": OLD, "new": NEW}))


@pytest.fixture
def connection_of(store, now):
    """Store a connection with secrets and return it."""

    def make(key: str, vault: Vault = BEFORE):
        def sealed(row_id):
            return seal(vault, row_id, secrets=b"S", masked=b"M")

        with store.write() as database:
            record_keys(database, vault.ring, now=now)
            item = SaveItem(key, "salesforce", "saas", "d", seal=sealed)
            return save_connections(database, [item], now=now)[0].connection

    return make


def put(store, connection, tokens: bytes, *, vault: Vault = BEFORE, secrets_version: int = 1) -> bool:
    with store.write() as database:
        sealed = seal_tokens(vault, connection.id, tokens)
        return replace_tokens(database, connection.id, sealed, secrets_version=secrets_version)


def get(store, connection, vault: Vault = BEFORE) -> bytes | None:
    with store.read() as database:
        envelope = load_tokens(database, connection.id)
    return None if envelope is None else open_tokens(vault, connection.id, envelope)


def test_tokens_are_stored_and_replaced_and_change_nothing_else(store, connection_of):
    connection = connection_of("crm")
    assert get(store, connection) is None
    assert put(store, connection, b"first")
    assert put(store, connection, b"second")
    assert get(store, connection) == b"second"
    with store.read() as database:
        assert connections.get_by_id(database, connection.id) == connection
        assert load_envelopes(database, connection.id)[2] == 1


def test_tokens_of_other_secrets_are_not_stored(store, connection_of, now):
    connection = connection_of("crm")
    assert not put(store, connection, b"of later secrets", secrets_version=2)
    with store.write() as database:
        connections.delete(database, connection.id)
    assert not put(store, connection, b"of a connection that is gone")


def test_a_connection_without_secrets_keeps_no_tokens(store, now):
    with store.write() as database:
        [saved] = save_connections(database, [SaveItem("bare", "salesforce", "saas", "d")], now=now)
    assert not put(store, saved.connection, b"tokens", secrets_version=0)


def test_tokens_are_forgotten_when_the_secrets_change(store, connection_of, now):
    changed, replaced = connection_of("changed"), connection_of("replaced")
    for connection in (changed, replaced):
        put(store, connection, b"tokens")
    with store.write() as database:
        newer = seal(BEFORE, changed.id, secrets=b"S2", masked=b"M2")
        connections.store_secrets(database, changed.id, newer, now=now)
    connection_of("replaced")
    assert (get(store, changed), get(store, replaced)) == (None, None)


def test_tokens_stay_when_other_fields_change(store, connection_of, save_one):
    connection = connection_of("crm")
    put(store, connection, b"tokens")
    with store.write() as database:
        save_one(database, "crm", "salesforce", name="Renamed")
    assert get(store, connection) == b"tokens"


def test_an_envelope_of_tokens_opens_in_its_own_row_and_column_only(store, connection_of):
    one, other = connection_of("one"), connection_of("other")
    envelope = seal_tokens(BEFORE, one.id, b"tokens").tokens
    for row_id, opener in ((other.id, open_tokens), (one.id, open_secrets)):
        with pytest.raises(Tampered):
            opener(BEFORE, row_id, envelope)


# Keys


def test_rotation_seals_tokens_too(store, connection_of):
    connection = connection_of("crm")
    put(store, connection, b"tokens")
    assert rotate(store, AFTER) == RotationResult(re_encrypted=1, skipped=0, failed=0)
    only_new = Vault(KeyRing("new", {"new": NEW}))
    assert get(store, connection, only_new) == b"tokens"
    assert unreadable_rows(store, only_new) == []


def test_tokens_under_an_older_key_than_the_secrets_are_counted_and_rotated(store, connection_of, now):
    """As a process leaves them that has not read the new key file yet."""
    with store.write() as database:
        record_keys(database, BEFORE.ring, now=now)
    connection, _ = connection_of("crm", AFTER), connection_of("plain", AFTER)
    put(store, connection, b"tokens", vault=BEFORE)
    only_new = Vault(KeyRing("new", {"new": NEW}))
    found = status(store, only_new)
    assert (dict(found.rows_by_kid), found.missing_kids) == ({"new": 2, "old": 1}, ("old",))
    assert unreadable_rows(store, only_new) == [UnreadableRow(connection.id, "crm", "tokens", "old", "key_missing")]
    with pytest.raises(KeyMismatch), store.write() as database:
        record_keys(database, KeyRing("old", {"old": NEW}), now=now)
    assert rotate(store, AFTER) == RotationResult(re_encrypted=1, skipped=0, failed=0)
    assert dict(status(store, AFTER).rows_by_kid) == {"new": 2}
    assert get(store, connection, only_new) == b"tokens"


def test_tokens_stored_during_a_rotation_win(store, connection_of, monkeypatch):
    connection = connection_of("crm")
    from connectory.store import rotation

    original = rotation.seal_row

    def seal_again_while_a_test_ends(vault, row, opened):
        sealed = original(vault, row, opened)
        put(store, connection, b"newer", vault=AFTER)
        return sealed

    monkeypatch.setattr(rotation, "seal_row", seal_again_while_a_test_ends)
    assert rotate(store, AFTER) == RotationResult(re_encrypted=0, skipped=1, failed=0)
    assert get(store, connection, AFTER) == b"newer"


def test_tampered_tokens_are_reported(store, connection_of):
    one, other = connection_of("one"), connection_of("other")
    put(store, one, b"tokens")
    with store.write() as database:
        moved = text(
            "UPDATE connection_secrets SET tokens_sealed = :envelope, tokens_kid = 'old' WHERE connection_id = :id"
        )
        database.execute(moved, {"envelope": load_tokens(database, one.id), "id": other.id})
    assert unreadable_rows(store, BEFORE) == [UnreadableRow(other.id, "other", "tokens", "old", "tampered")]
