"""Datasets: stored and replaced by key, unique across connections, listed newest first."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from connectory.store import datasets
from connectory.store.datasets import Dataset
from connectory.store.errors import ConnectionGone, KeyTaken


@pytest.fixture
def make(store, save_one):
    def make(key: str) -> str:
        with store.write() as database:
            return save_one(database, key).id

    return make


def test_a_dataset_reads_back_as_it_was_stored(store, make, now):
    owner = make("a")
    with store.write() as database:
        [(key, made)] = datasets.upsert_many(database, owner, {"orders": '{"name": "☃"}'}, now=now).items()
        assert key == "orders"
        assert datasets.get(database, owner, "orders") == made
    assert made == Dataset(made.id, owner, "orders", '{"name": "☃"}', now, now)


def test_a_stored_dataset_is_replaced_and_keeps_its_identity(store, make, now):
    owner, later = make("a"), now + timedelta(seconds=1)
    with store.write() as database:
        first = datasets.upsert_many(database, owner, {"orders": "1", "other": "1"}, now=now)
        second = datasets.upsert_many(database, owner, {"new": "2", "orders": "2"}, now=later)
        assert list(second) == ["new", "orders"]
        assert second["orders"] == Dataset(first["orders"].id, owner, "orders", "2", now, later)
        assert datasets.get(database, owner, "orders") == second["orders"]
        assert datasets.get(database, owner, "other") == first["other"]


def test_a_key_of_another_connection_is_taken_and_the_others_are_stored(store, make, now):
    mine, theirs = make("a"), make("b")
    with store.write() as database:
        datasets.upsert_many(database, theirs, {"orders": "theirs"}, now=now)
        outcomes = datasets.upsert_many(database, mine, {"orders": "mine", "free": "mine"}, now=now)
    assert isinstance(outcomes["orders"], KeyTaken)
    assert outcomes["orders"].key == "orders"
    assert isinstance(outcomes["free"], Dataset)
    with store.read() as database:
        assert datasets.get(database, theirs, "orders").dataset == "theirs"
        assert datasets.get(database, mine, "orders") is None


def test_a_dataset_of_no_connection_is_refused(store, now):
    with pytest.raises(ConnectionGone), store.write() as database:
        datasets.upsert_many(database, "no such id", {"orders": "{}"}, now=now)


def test_a_listing_is_newest_first_then_by_key_and_in_pages(store, make, save_one, now):
    owner = make("a")
    with store.write() as database:
        for seconds, keys in enumerate([["old"], ["b", "a"], ["new"]]):
            datasets.upsert_many(database, owner, dict.fromkeys(keys, "{}"), now=now + timedelta(seconds=seconds))
        datasets.upsert_many(database, save_one(database, "other").id, {"elsewhere": "{}"}, now=now)
    with store.read() as database:
        rows, total = datasets.list_datasets(database, owner)
        assert ([row.fides_key for row in rows], total) == (["new", "a", "b", "old"], 4)
        rows, total = datasets.list_datasets(database, owner, page=2, size=3)
        assert ([row.fides_key for row in rows], total) == (["old"], 4)
        assert datasets.list_datasets(database, owner, page=10**30, size=100) == ([], 4)
        assert datasets.list_datasets(database, "no such id") == ([], 0)


def test_a_dataset_is_deleted_once_and_only_through_its_connection(store, make, now):
    owner, other = make("a"), make("b")
    with store.write() as database:
        datasets.upsert_many(database, owner, {"orders": "{}"}, now=now)
        assert datasets.delete(database, other, "orders") is False
        assert datasets.delete(database, owner, "orders") is True
        assert datasets.delete(database, owner, "orders") is False


@pytest.mark.parametrize("key", ["\x00", "\ud800", "", "x" * 100_000])
def test_a_key_that_cannot_be_stored_is_not_found(store, make, key):
    owner = make("a")
    with store.write() as database:
        assert datasets.get(database, owner, key) is None
        assert datasets.delete(database, owner, key) is False


def test_threads_that_store_the_same_new_keys_all_succeed(store, make, now):
    """And leave one of each."""
    owner, barrier = make("a"), threading.Barrier(10)
    keys = [f"k{number}" for number in range(10)]

    def save(number: int) -> bool:
        barrier.wait()
        with store.write() as database:
            in_some_order = keys if number % 2 else keys[::-1]
            outcomes = datasets.upsert_many(database, owner, dict.fromkeys(in_some_order, str(number)), now=now)
        return all(isinstance(outcome, Dataset) for outcome in outcomes.values())

    with ThreadPoolExecutor(10) as pool:
        assert all(pool.map(save, range(10)))
    with store.read() as database:
        rows, total = datasets.list_datasets(database, owner)
    assert total == 10
    assert len({row.dataset for row in rows}) == 1


def test_of_two_connections_that_store_one_new_key_at_once_one_gets_it(store, make, now):
    owners, barrier = [make("a"), make("b")], threading.Barrier(2)

    def save(owner: str) -> Dataset | KeyTaken:
        barrier.wait()
        with store.write() as database:
            return datasets.upsert_many(database, owner, {"orders": "{}"}, now=now)["orders"]

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(save, owners))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Dataset", "KeyTaken"]
