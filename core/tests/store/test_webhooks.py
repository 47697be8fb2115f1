"""Webhooks: their secrets, and what they have still to be told."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from connectory.store import connections
from connectory.store.engine import open_store
from connectory.store.webhooks import (
    add_event,
    claim_events,
    count_events,
    delete_webhook,
    get_webhook,
    open_secret,
    put_webhook,
    seal_secret,
    settle,
)
from connectory.vault import KeyRing, Tampered, Vault

VAULT = Vault(KeyRing("k", {"k": os.urandom(32)}))
LASTS = timedelta(seconds=60)
URL = "https://hooks.example.com/connectory"


@pytest.fixture
def owner(store, save_one, now):
    """The id of a connection with a webhook."""
    with store.write() as database:
        row = save_one(database, "books").id
        assert put_webhook(database, row, URL, seal_secret(VAULT, row, b"sixteen letters!"), now=now)
    return row


def test_the_secret_opens_only_in_its_row_and_no_text_of_it_shows(store, owner, now):
    with store.write() as database:
        assert add_event(database, owner, "e", "{}", now=now)
        [event] = claim_events(database, 9, now=now, lasts=LASTS)
    assert open_secret(VAULT, owner, event.secret) == b"sixteen letters!"
    with pytest.raises(Tampered):
        open_secret(VAULT, "another", event.secret)
    assert event.secret not in repr(event) + repr(seal_secret(VAULT, owner, b"s"))


def test_an_event_is_claimed_once_until_it_is_held_no_more(store, owner, now):
    with store.write() as database:
        add_event(database, owner, "e", '{"a":1}', now=now)
        assert claim_events(database, 9, now=now - LASTS, lasts=LASTS) == []
        [lost] = claim_events(database, 9, now=now, lasts=LASTS)
        assert (lost.id, lost.body, lost.url, lost.attempts) == ("e", '{"a":1}', URL, 0)
        assert count_events(database, now=now) == (1, 0)
        assert claim_events(database, 9, now=now, lasts=LASTS) == []
        [event] = claim_events(database, 9, now=now + LASTS, lasts=LASTS)
        assert not settle(database, lost, '{"late":1}', again_at=None)
        assert get_webhook(database, owner).last_delivery is None
        assert settle(database, event, '{"told":1}', again_at=None)
        assert count_events(database, now=now) == (0, 0)
        found = get_webhook(database, owner)
    assert (found.last_delivery, found.pending, found.url) == ('{"told":1}', 0, URL)


def test_what_failed_is_due_again(store, owner, now):
    with store.write() as database:
        add_event(database, owner, "e", "{}", now=now)
        [event] = claim_events(database, 9, now=now, lasts=LASTS)
        assert settle(database, event, "{}", again_at=now + LASTS)
        assert claim_events(database, 9, now=now + LASTS / 2, lasts=LASTS) == []
        assert count_events(database, now=now + LASTS) == (1, 1)
        [event] = claim_events(database, 9, now=now + LASTS, lasts=LASTS)
        assert event.attempts == 1


def test_a_new_webhook_takes_what_was_still_to_be_told_and_one_that_is_deleted_does_not(store, owner, now):
    with store.write() as database:
        add_event(database, owner, "e", "{}", now=now)
        put_webhook(database, owner, "https://b.example/", seal_secret(VAULT, owner, b"another secret"), now=now)
        [event] = claim_events(database, 9, now=now, lasts=LASTS)
        assert event.url == "https://b.example/"
        assert delete_webhook(database, owner)
        assert not delete_webhook(database, owner)
        assert not settle(database, event, "{}", again_at=None)
        assert not add_event(database, owner, "f", "{}", now=now)
        assert (get_webhook(database, owner), count_events(database, now=now)) == (None, (0, 0))


def test_a_webhook_goes_with_its_connection(store, owner, now):
    with store.write() as database:
        add_event(database, owner, "e", "{}", now=now)
        connections.delete(database, owner)
        assert count_events(database, now=now) == (0, 0)
        assert not put_webhook(database, owner, URL, seal_secret(VAULT, owner, b"s"), now=now)


def test_of_many_that_claim_at_once_one_gets_each(store, store_url, owner, now):
    with store.write() as database:
        for number in range(20):
            add_event(database, owner, f"e{number}", "{}", now=now)

    def claimed(_: int) -> list[str]:
        with open_store(store_url) as other:
            found = []
            while True:
                with other.write() as database:
                    events = claim_events(database, 3, now=now, lasts=LASTS)
                if not events:
                    return found
                found += [event.id for event in events]

    with ThreadPoolExecutor(4) as pool:
        found = [each for one in pool.map(claimed, range(4)) for each in one]
    assert (len(found), len(set(found))) == (20, 20)
