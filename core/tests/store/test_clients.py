"""API clients and tokens: only hashes are stored, and a revoked or expired token is no token."""

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from connectory.store import clients
from connectory.store.client_listing import lock_holders

HOUR = timedelta(hours=1)


@pytest.fixture
def client(store, now):
    """A client and its secret."""
    with store.write() as database:
        return clients.create_client(database, name="importer", scopes=["connection:read", "dataset:read"], now=now)


def issue(store, client_id: str, now, scopes=("connection:read",)) -> str:
    with store.write() as database:
        return clients.issue_token(database, client_id, scopes=scopes, lifetime=HOUR, now=now)[0]


def verify(store, token: str, now):
    with store.read() as database:
        return clients.verify_token(database, token, now=now)


def test_a_client_authenticates_with_its_secret_and_no_other(store, client):
    made, secret = client
    with store.read() as database:
        assert clients.authenticate_client(database, made.id, secret) == made
        for wrong in ("", secret[:-1], secret + "x", secret.swapcase(), "\x00", "\ud800", "☃"):
            assert clients.authenticate_client(database, made.id, wrong) is None
        for nobody in ("", "nobody", "\x00", "\ud800"):
            assert clients.authenticate_client(database, nobody, secret) is None


def test_a_secret_that_was_rotated_is_refused_and_tokens_stay_until_they_are_revoked(store, client, now):
    made, old = client
    token = issue(store, made.id, now)
    with store.write() as database:
        new = clients.rotate_secret(database, made.id)
        assert clients.authenticate_client(database, made.id, old) is None
        assert clients.authenticate_client(database, made.id, new) == made
    assert verify(store, token, now) is not None
    with store.write() as database:
        assert clients.revoke_tokens(database, made.id) == 1
        for nobody in ("nobody", "\x00", "\ud800"):
            assert clients.rotate_secret(database, nobody) is None
            assert clients.revoke_tokens(database, nobody) == 0
    assert verify(store, token, now) is None


def test_clients_are_listed_oldest_first(store, client, now):
    with store.write() as database:
        second, _ = clients.create_client(database, name="second", scopes=[], now=now + HOUR)
        assert clients.list_clients(database) == [client[0], second]
    assert client[0].scopes == {"connection:read", "dataset:read"}
    assert second.scopes == frozenset()


def test_only_hashes_of_secrets_and_tokens_are_stored(store, client, now):
    """They are 32 random bytes."""
    made, secret = client
    token = issue(store, made.id, now)
    for shown in (secret, token):
        assert len(base64.urlsafe_b64decode(shown + "=")) == 32
    with store.read() as database:
        rows = [
            *database.execute(text("SELECT * FROM clients")),
            *database.execute(text("SELECT * FROM client_tokens")),
        ]
    assert secret not in str(rows)
    assert token not in str(rows)
    assert secret not in repr(made)


def test_a_token_tells_its_client_scopes_and_expiry_until_it_expires(store, client, now):
    token = issue(store, client[0].id, now, ["b", "a", "b"])
    expected = (client[0].id, frozenset({"a", "b"}), now + HOUR)
    assert verify(store, token, now) == expected
    assert verify(store, token, now + HOUR - timedelta(microseconds=1)) == expected
    assert verify(store, token, now + HOUR) is None


@pytest.mark.parametrize("token", ["", "x", "\x00", "\ud800", "x" * 100_000])
def test_what_is_no_token_is_none(store, client, now, token):
    issue(store, client[0].id, now)
    assert verify(store, token, now) is None


def test_a_token_is_looked_up_by_its_index(sqlite_url):
    from connectory.store.engine import open_store

    with open_store(sqlite_url) as store, store.read() as database:
        plan = database.execute(text("EXPLAIN QUERY PLAN SELECT * FROM client_tokens WHERE token_hash = 'x'")).all()
    assert "SEARCH client_tokens USING INDEX" in str(plan)


def test_deleting_a_client_revokes_its_tokens_and_no_others(store, client, now):
    tokens = [issue(store, client[0].id, now) for _ in range(3)]
    with store.write() as database:
        other, _ = clients.create_client(database, name="other", scopes=[], now=now)
    kept = issue(store, other.id, now)
    with store.write() as database:
        assert clients.delete_client(database, client[0].id) is True
        assert clients.delete_client(database, client[0].id) is False
        assert clients.delete_client(database, "\x00") is False
    assert [verify(store, token, now) for token in tokens] == [None] * 3
    assert verify(store, kept, now) is not None


def test_issuing_a_token_purges_expired_ones(store, client, now):
    issue(store, client[0].id, now)
    later = issue(store, client[0].id, now + HOUR / 2)
    issue(store, client[0].id, now + HOUR)
    with store.read() as database:
        assert database.execute(text("SELECT count(*) FROM client_tokens")).scalar_one() == 2
    assert verify(store, later, now + HOUR) is not None


@pytest.mark.parametrize("scope", ["", "a b", "a\n", " a"])
def test_a_scope_that_is_not_one_word_is_refused(store, client, now, scope):
    with store.write() as database:
        with pytest.raises(ValueError, match="empty or contains white space"):
            clients.create_client(database, name="x", scopes=[scope], now=now)
        with pytest.raises(ValueError, match="empty or contains white space"):
            clients.issue_token(database, client[0].id, scopes=[scope], lifetime=HOUR, now=now)


def test_of_several_who_delete_each_other_at_once_one_stays(store, now):
    """Each deletes only where another one is left that has the scope."""
    with store.write() as database:
        managers = [
            clients.create_client(database, name=name, scopes=["client:manage", "connection:read"], now=now)[0].id
            for name in "abcd"
        ]
        clients.create_client(database, name="reader", scopes=["client:manage:all"], now=now)

    def delete(client_id: str) -> bool:
        with store.write() as database:
            if lock_holders(database, "client:manage") <= {client_id}:
                return False
            return clients.delete_client(database, client_id)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(delete, managers)) == [False, True, True, True]
    with store.write() as database:
        assert len(lock_holders(database, "client:manage")) == 1
