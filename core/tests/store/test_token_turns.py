"""Turns with a connection's tokens: one at a time, in order, each ending by itself, and nothing of one that was taken away."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from connectory.store import connections
from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.envelopes import has_tokens, load_tokens, open_tokens, seal, seal_tokens
from connectory.store.tables import token_turns
from connectory.store.token_turns import (
    Turn,
    end,
    is_worth_trying,
    queue_up,
    renew_tokens,
    replace_tokens,
    store_first_tokens,
)
from connectory.vault import KeyRing, Vault

VAULT = Vault(KeyRing("k", {"k": os.urandom(32)}))
LONG, OVERDUE = timedelta(minutes=1), timedelta(seconds=-1)


@pytest.fixture
def connection(store, now):
    def sealed(row_id):
        return seal(VAULT, row_id, secrets=b"S", masked=b"M")

    with store.write() as database:
        return save_connections(database, [SaveItem("crm", "salesforce", "saas", "d", seal=sealed)], now=now)[
            0
        ].connection


@pytest.fixture
def turn(connection):
    return lambda: Turn(connection.id, connection.secrets_version)


def tried(store, turn, *, waits=LONG, lasts=LONG) -> bool | None:
    with store.write() as database:
        return queue_up(database, turn, waits=waits, lasts=lasts)


def ended(store, turn) -> bool:
    with store.write() as database:
        return end(database, turn)


def worth_trying(store, turn) -> bool:
    with store.read() as database:
        return is_worth_trying(database, turn)


def renewed(store, turn, tokens: bytes) -> bool:
    with store.write() as database:
        return renew_tokens(database, turn, seal_tokens(VAULT, turn.connection_id, tokens))


def tokens_of(store, connection) -> bytes | None:
    with store.read() as database:
        envelope = load_tokens(database, connection.id)
        assert has_tokens(database, connection.id) == (envelope is not None)
    return None if envelope is None else open_tokens(VAULT, connection.id, envelope)


def test_one_at_a_time_in_the_order_of_their_coming(store, turn):
    first, second, third = turn(), turn(), turn()
    assert [tried(store, one) for one in (first, second, third)] == [True, False, False]
    assert [worth_trying(store, one) for one in (first, second, third)] == [True, False, False]
    assert ended(store, first)
    assert tried(store, third) is False
    assert (worth_trying(store, second), tried(store, second)) == (True, True)


def test_of_many_at_once_one_begins(store, turn):
    turns = [turn() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda one: tried(store, one), turns))
    assert sorted(begun) == [False] * 7 + [True]


def test_whoever_leaves_the_queue_or_is_overdue_there_holds_nobody_up(store, turn):
    first, leaving, dead, last = turn(), turn(), turn(), turn()
    tried(store, first)
    tried(store, leaving)
    tried(store, dead, waits=OVERDUE)
    assert tried(store, last) is False
    assert ended(store, leaving)
    assert ended(store, first)
    assert tried(store, last) is True


def test_a_turn_ends_by_itself_and_what_it_was_given_is_not_stored_once_another_began(store, turn, connection):
    dead, next_one = turn(), turn()
    assert tried(store, dead, lasts=OVERDUE)
    assert tried(store, next_one)
    assert renewed(store, dead, b"of the dead") is False
    assert renewed(store, next_one, b"newer") is True
    assert renewed(store, dead, b"of the dead") is False
    assert tokens_of(store, connection) == b"newer"


def test_what_an_overdue_turn_was_given_is_stored_while_nobody_else_began(store, turn, connection):
    late = turn()
    assert tried(store, late, lasts=OVERDUE)
    assert renewed(store, late, b"late") is True
    assert tokens_of(store, connection) == b"late"
    assert ended(store, late) is False


def test_a_new_consent_ends_all_turns(store, turn, connection):
    running, waiting = turn(), turn()
    tried(store, running)
    tried(store, waiting)
    with store.write() as database:
        sealed = seal_tokens(VAULT, connection.id, b"of the consent")
        assert replace_tokens(database, connection.id, sealed, secrets_version=connection.secrets_version)
    assert renewed(store, running, b"of the test") is False
    assert tokens_of(store, connection) == b"of the consent"
    assert (worth_trying(store, waiting), tried(store, waiting)) == (True, True)


def test_a_test_that_had_no_tokens_stores_the_first_ones_only(store, connection):
    def store_first(tokens: bytes, secrets_version: int) -> bool:
        with store.write() as database:
            sealed = seal_tokens(VAULT, connection.id, tokens)
            return store_first_tokens(database, connection.id, sealed, secrets_version=secrets_version)

    assert store_first(b"of other secrets", 2) is False
    assert store_first(b"first", 1) is True
    assert store_first(b"second", 1) is False
    assert tokens_of(store, connection) == b"first"


def test_there_are_no_turns_for_other_secrets_than_those_stored(store, turn, connection, now):
    running = turn()
    assert tried(store, running)
    with store.write() as database:
        connections.store_secrets(
            database, connection.id, seal(VAULT, connection.id, secrets=b"2", masked=b"2"), now=now
        )
    assert tried(store, turn()) is None
    assert renewed(store, running, b"of the old secrets") is False
    assert tokens_of(store, connection) is None


def test_a_deleted_connection_takes_its_queue_along(store, turn, connection):
    tried(store, turn())
    with store.write() as database:
        connections.delete(database, connection.id)
        assert database.execute(select(token_turns)).all() == []
    assert tried(store, turn()) is None


def test_turns_of_different_connections_have_nothing_to_do_with_each_other(store, turn, save_one):
    with store.write() as database:
        other = save_one(database, "other", "salesforce", "saas")
    assert tried(store, turn())
    assert tried(store, Turn(other.id, other.secrets_version))
    with store.read() as database:
        assert database.execute(text("SELECT DISTINCT number FROM token_turns")).scalars().all() == [1]
