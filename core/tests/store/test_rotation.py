"""Rotating keys over stored secrets, and telling which secrets can be read."""

import os

import pytest
from sqlalchemy import text

from connectory.store import connections
from connectory.store.audit import Actor
from connectory.store.audit_search import list_entries
from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.envelopes import load_envelopes, open_masked, open_secrets, seal
from connectory.store.key_records import record_keys
from connectory.store.rotation import (
    RotationResult,
    SecretsStatus,
    rotate,
    status,
    unreadable_rows,
)
from connectory.store.sealed_rows import UnreadableRow
from connectory.store.webhooks import open_secret, put_webhook, seal_secret
from connectory.vault import KeyMismatch, KeyRing, Tampered, Vault

OLD, NEW = os.urandom(32), os.urandom(32)
BEFORE = Vault(KeyRing("old", {"old": OLD}))
AFTER = Vault(KeyRing("new", {"old": OLD, "new": NEW}))


@pytest.fixture
def fill(store, now):
    """Store connections whose secrets are sealed by one vault."""

    def fill(vault: Vault, *keys: str) -> dict[str, str]:
        def sealing(key: str):
            return lambda row_id: seal(vault, row_id, secrets=f"S {key}".encode(), masked=f"M {key}".encode())

        with store.write() as database:
            record_keys(database, vault.ring, now=now)
            items = [SaveItem(key, "postgres", "database", "d", seal=sealing(key)) for key in keys]
            return {saved.connection.key: saved.connection.id for saved in save_connections(database, items, now=now)}

    return fill


def opened(store, vault: Vault, row_id: str) -> tuple[bytes, bytes]:
    with store.read() as database:
        secrets, masked, _ = load_envelopes(database, row_id)
    return open_secrets(vault, row_id, secrets), open_masked(vault, row_id, masked)


def test_rotation_seals_every_row_with_the_primary_key_and_keeps_all_else(store, fill, now):
    ids = fill(BEFORE, *(f"k{number}" for number in range(7)))
    with store.write() as database:
        connections.record_test(database, ids["k0"], secrets_version=1, succeeded=True, report="{}", at=now)
        before = connections.get_by_key(database, "k0")
    assert rotate(store, AFTER, batch=3) == RotationResult(re_encrypted=7, skipped=0, failed=0)
    only_new = Vault(KeyRing("new", {"new": NEW}))
    for key, row_id in ids.items():
        assert opened(store, only_new, row_id) == (f"S {key}".encode(), f"M {key}".encode())
    with store.read() as database:
        after = connections.get_by_key(database, "k0")
    assert after.secrets_kid == "new"
    assert (after.version, after.secrets_version, after.updated_at) == (before.version, 1, before.updated_at)
    assert after.last_test_succeeded is True


def test_rotating_again_finds_nothing_to_do(store, fill):
    fill(BEFORE, "a", "b")
    rotate(store, AFTER)
    assert rotate(store, AFTER) == RotationResult(0, 0, 0)


def test_rows_without_secrets_are_left_alone(store, fill, now):
    with store.write() as database:
        save_connections(database, [SaveItem("empty", "postgres", "database", "d")], now=now)
    assert rotate(store, AFTER) == RotationResult(0, 0, 0)
    assert status(store, AFTER) == SecretsStatus({}, (), (), 0)


def test_a_dry_run_counts_and_writes_nothing(store, fill):
    ids = fill(BEFORE, "a", "b")
    assert rotate(store, AFTER, dry_run=True) == RotationResult(re_encrypted=2, skipped=0, failed=0)
    assert opened(store, BEFORE, ids["a"]) == (b"S a", b"M a")
    with store.read() as database:
        assert list_entries(database)[1] == 0


def test_unreadable_rows_fail_are_kept_and_do_not_stop_the_others(store, fill):
    lost = Vault(KeyRing("lost", {"lost": os.urandom(32)}))
    ids = fill(lost, "x1", "x2") | fill(BEFORE, "a", "b", "tampered")
    with store.write() as database:
        moved = load_envelopes(database, ids["a"])[1]
        statement = text("UPDATE connection_secrets SET masked_sealed = :moved WHERE connection_id = :id")
        database.execute(statement, {"moved": moved, "id": ids["tampered"]})
    result = rotate(store, AFTER, batch=1)
    assert (result.re_encrypted, result.skipped, result.failed) == (2, 0, 3)
    assert result.failures == (
        UnreadableRow(ids["tampered"], "tampered", "masked", "old", "tampered"),
        UnreadableRow(ids["x1"], "x1", "secrets", "lost", "key_missing"),
        UnreadableRow(ids["x2"], "x2", "secrets", "lost", "key_missing"),
    )
    assert opened(store, lost, ids["x1"]) == (b"S x1", b"M x1")
    with pytest.raises(Tampered):
        opened(store, BEFORE, ids["tampered"])


def test_a_damaged_row_is_found_whichever_key_sealed_it(store, fill):
    """Also by a dry run, which writes none."""
    ids = fill(AFTER, "fine", "damaged")
    with store.write() as database:
        moved = load_envelopes(database, ids["fine"])[0]
        statement = text("UPDATE connection_secrets SET secrets_sealed = :moved WHERE connection_id = :id")
        database.execute(statement, {"moved": moved, "id": ids["damaged"]})
    for dry_run in (True, False):
        result = rotate(store, AFTER, dry_run=dry_run)
        assert (result.re_encrypted, result.failed) == (0, 1)
        assert result.failures == (UnreadableRow(ids["damaged"], "damaged", "secrets", "new", "tampered"),)


def test_a_rotation_names_a_bounded_number_of_failed_rows_and_counts_all(store, fill, monkeypatch):
    from connectory.store import rotation

    monkeypatch.setattr(rotation, "MOST_NAMED", 3)
    fill(Vault(KeyRing("lost", {"lost": os.urandom(32)})), *(f"k{number}" for number in range(5)))
    result = rotate(store, AFTER, batch=2)
    assert result.failed == 5
    assert [row.key for row in result.failures] == ["k0", "k1", "k2"]


def test_a_rotation_says_how_far_it_is(store, fill):
    fill(BEFORE, *(f"k{number}" for number in range(5)))
    told = []
    rotate(store, AFTER, batch=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_a_rotation_keeps_the_ring_that_it_began_with(store, fill):
    """Though the service reads other keys meanwhile."""
    ids = fill(BEFORE, "a", "b")
    vault = Vault(AFTER.ring)

    def reload(_done: int, _total: int) -> None:
        vault.ring = BEFORE.ring

    rotate(store, vault, batch=1, progress=reload)
    with store.read() as database:
        assert {connections.get_by_key(database, key).secrets_kid for key in ids} == {"new"}


def test_a_change_made_during_rotation_wins(store, fill, now, monkeypatch):
    """Both a whole replacement and the change of one of the two envelopes."""
    ids = fill(BEFORE, "a", "b", "c", "deleted")
    from connectory.store import rotation

    original = rotation.seal_row

    def seal_again_while_somebody_writes(vault, row, opened):
        sealed = original(vault, row, opened)
        with store.write() as database:
            if row.id == ids["a"]:
                newer = seal(AFTER, row.id, secrets=b"newer", masked=b"newer mask")
                connections.store_secrets(database, row.id, newer, now=now)
            elif row.id == ids["b"]:
                masked = seal(AFTER, row.id, secrets=b"", masked=b"other mask").masked
                statement = text("UPDATE connection_secrets SET masked_sealed = :masked WHERE connection_id = :id")
                database.execute(statement, {"masked": masked, "id": row.id})
            elif row.id == ids["deleted"]:
                connections.delete(database, row.id)
        return sealed

    monkeypatch.setattr(rotation, "seal_row", seal_again_while_somebody_writes)
    assert rotate(store, AFTER) == RotationResult(re_encrypted=1, skipped=3, failed=0)
    assert opened(store, AFTER, ids["a"]) == (b"newer", b"newer mask")
    assert opened(store, AFTER, ids["b"]) == (b"S b", b"other mask")
    assert opened(store, AFTER, ids["c"]) == (b"S c", b"M c")


def test_each_rotated_row_is_in_the_audit_trail_without_values(store, fill):
    ids = fill(BEFORE, "a")
    rotate(store, AFTER, actor=Actor("nightly"))
    with store.read() as database:
        [entry], _ = list_entries(database)
    assert (entry.actor, entry.action, entry.connection_id, entry.connection_key, entry.kid, entry.changed_fields) == (
        "nightly",
        "rotated",
        ids["a"],
        "a",
        "new",
        ("secrets",),
    )


def test_status_counts_rows_by_key_and_names_missing_ones(store, fill):
    fill(BEFORE, "a", "b")
    fill(AFTER, "c")
    assert status(store, AFTER) == SecretsStatus({"new": 1, "old": 2}, (), (), 0)
    only_new = Vault(KeyRing("new", {"new": NEW}))
    assert status(store, only_new) == SecretsStatus({"new": 1, "old": 2}, ("old",), (), 2)
    rotate(store, AFTER)
    assert status(store, only_new) == SecretsStatus({"new": 3}, (), (), 0)


def test_status_names_keys_whose_bytes_differ_from_when_they_were_first_used(store, fill):
    fill(BEFORE, "a", "b")
    other = Vault(KeyRing("old", {"old": NEW}))
    assert status(store, other) == SecretsStatus({"old": 2}, (), ("old",), 2)


def test_unreadable_rows_are_named_with_their_reason(store, fill):
    lost = Vault(KeyRing("lost", {"lost": os.urandom(32)}))
    ids = fill(lost, "missing") | fill(BEFORE, "fine", "moved") | fill(AFTER, "mismatched")
    with store.write() as database:
        envelope = load_envelopes(database, ids["fine"])[0]
        statement = text("UPDATE connection_secrets SET secrets_sealed = :envelope WHERE connection_id = :id")
        database.execute(statement, {"envelope": envelope, "id": ids["moved"]})
    now_configured = Vault(KeyRing("old", {"old": OLD, "new": os.urandom(32)}))
    found = {row.key: row for row in unreadable_rows(store, now_configured, batch=1)}
    assert found == {
        "missing": UnreadableRow(ids["missing"], "missing", "secrets", "lost", "key_missing"),
        "moved": UnreadableRow(ids["moved"], "moved", "secrets", "old", "tampered"),
        "mismatched": UnreadableRow(ids["mismatched"], "mismatched", "secrets", "new", "key_mismatch"),
    }
    assert unreadable_rows(store, Vault(KeyRing("old", {"old": OLD}))) != []


def test_a_primary_key_whose_bytes_changed_is_refused(store, fill, now):
    """While secrets need the old bytes."""
    fill(BEFORE, "a")
    other = KeyRing("old", {"old": NEW})
    with pytest.raises(KeyMismatch), store.write() as database:
        record_keys(database, other, now=now)
    with pytest.raises(KeyMismatch):
        rotate(store, Vault(other))
    with store.write() as database:
        record_keys(database, BEFORE.ring, now=now)
        connections.delete(database, connections.get_by_key(database, "a").id)
        record_keys(database, other, now=now)
    fill(Vault(other), "b")
    assert status(store, Vault(other)) == SecretsStatus({"old": 1}, (), (), 0)


def test_the_secret_of_a_webhook_is_sealed_again_with_and_without_secrets_beside_it(store, fill, now):
    ids = fill(BEFORE, "both")
    with store.write() as database:
        [saved] = save_connections(database, [SaveItem("alone", "postgres", "database", "d")], now=now)
        ids["alone"] = saved.connection.id
        for row_id in ids.values():
            assert put_webhook(database, row_id, "https://a.example/", seal_secret(BEFORE, row_id, b"hook"), now=now)
    assert status(store, AFTER).rows_by_kid == {"old": 2}

    assert rotate(store, AFTER) == RotationResult(re_encrypted=2, skipped=0, failed=0)

    only_new = Vault(KeyRing("new", {"new": NEW}))
    assert status(store, only_new) == SecretsStatus({"new": 2}, (), (), 0)
    assert rotate(store, only_new) == RotationResult(0, 0, 0)
    with store.read() as database:
        sealed = dict(map(tuple, database.execute(text("SELECT connection_id, secret_sealed FROM webhooks"))))
        told = {entry.connection_key: entry.changed_fields for entry in list_entries(database)[0]}
    assert {open_secret(only_new, row_id, envelope) for row_id, envelope in sealed.items()} == {b"hook"}
    assert {key: list(fields) for key, fields in told.items()} == {"both": ["secrets", "webhook"], "alone": ["webhook"]}


def test_a_webhook_that_was_replaced_meanwhile_is_left_to_who_did(store, fill, now, monkeypatch):
    from connectory.store import rotation

    [row_id] = fill(BEFORE, "both").values()
    original = rotation.seal_row

    def put(secret: bytes) -> None:
        with store.write() as database:
            put_webhook(database, row_id, "https://a.example/", seal_secret(AFTER, row_id, secret), now=now)

    def replacing(*arguments):
        put(b"newer")
        return original(*arguments)

    put(b"older")
    monkeypatch.setattr(rotation, "seal_row", replacing)
    assert rotate(store, AFTER) == RotationResult(re_encrypted=0, skipped=1, failed=0)
    with store.read() as database:
        envelope = database.execute(text("SELECT secret_sealed FROM webhooks")).scalar_one()
    assert open_secret(AFTER, row_id, envelope) == b"newer"


def test_a_webhook_whose_key_is_lost_is_named(store, fill, now):
    [row_id] = fill(BEFORE, "both").values()
    lost = Vault(KeyRing("lost", {"lost": os.urandom(32)}))
    with store.write() as database:
        put_webhook(database, row_id, "https://a.example/", seal_secret(lost, row_id, b"hook"), now=now)
    assert unreadable_rows(store, AFTER) == [UnreadableRow(row_id, "both", "webhook", "lost", "key_missing")]
    assert status(store, AFTER) == SecretsStatus({"lost": 1, "old": 1}, ("lost",), (), 1)
    assert rotate(store, AFTER).failed == 1
