"""Key rotation and bulk saves at the same time: all writers lock in one order, so none is ended in favour of another."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import pytest

from connectory.store.bulk_save import SaveFailed, SaveItem, save_connections
from connectory.store.connections import lock_by_keys
from connectory.store.engine import Store, open_store
from connectory.store.envelopes import load_envelopes, open_secrets, seal
from connectory.store.errors import StoreConflict
from connectory.store.rotation import rotate
from connectory.vault import KeyRing, Vault

KEYS = {"one": os.urandom(32), "two": os.urandom(32)}
VAULTS = [Vault(KeyRing(primary, KEYS)) for primary in KEYS]
ROWS, ITEMS, ROUNDS = 100, 50, 8


def item(key: str, vault: Vault) -> SaveItem:
    return SaveItem(
        key, "postgres", "database", "d", {"name": key}, lambda row_id: seal(vault, row_id, secrets=b"S", masked=b"M")
    )


def test_rotations_back_to_back_beside_bulk_saves_fail_nothing(store, now):
    """Two threads save 50 of 100 connections each, forwards and backwards, while a third rotates until they have ended."""
    names = [f"k{number:03}" for number in range(ROWS)]
    with store.write() as database:
        saved = save_connections(database, [item(name, VAULTS[0]) for name in names], now=now)

    def save(first: int) -> None:
        chosen = names[first : first + ITEMS]
        for number in range(ROUNDS):
            chosen.reverse()
            with store.write() as database:  # not write_again: the order alone must do
                outcomes = save_connections(database, [item(name, VAULTS[number % 2]) for name in chosen], now=now)
            assert not any(isinstance(outcome, SaveFailed) for outcome in outcomes)

    def rotate_back_to_back(saves: list[Future[None]]) -> int:
        for number in count(1):
            assert rotate(store, VAULTS[number % 2]).failed == 0
            if number >= ROUNDS and all(done.done() for done in saves):
                return number
        raise AssertionError

    with ThreadPoolExecutor(3) as pool:
        saves = [pool.submit(save, 0), pool.submit(save, ITEMS // 2)]
        assert pool.submit(rotate_back_to_back, saves).result() >= ROUNDS
        assert [done.result() for done in saves] == [None, None]
    with store.read() as database:
        for row_id in (outcome.connection.id for outcome in saved):
            assert open_secrets(VAULTS[0], row_id, load_envelopes(database, row_id)[0]) == b"S"


@pytest.fixture
def postgres_stores(postgres_url):
    with open_store(postgres_url) as one, open_store(postgres_url) as other:
        yield one, other


def lock_crosswise(one: Store, other: Store, *, again: bool) -> tuple[list[str], list[type | None]]:
    """Two transactions that lock two rows in opposite order. What was done, and how each ended."""
    both_hold_one = threading.Barrier(2, timeout=20)
    done: list[str] = []

    def work(name: str, keys: list[str]):
        tries = []

        def lock(database) -> None:
            tries.append(name)
            lock_by_keys(database, keys[:1])
            if len(tries) == 1:
                both_hold_one.wait()
            lock_by_keys(database, keys[1:])
            done.append(name)

        return lock

    def run(store: Store, name: str, keys: list[str]) -> type | None:
        lock = work(name, keys)
        try:
            if again:
                store.write_again(lock)
            else:
                with store.write() as database:
                    lock(database)
        except StoreConflict:
            return StoreConflict
        return None

    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(run, one, "there", ["a", "b"]), pool.submit(run, other, "back", ["b", "a"])]
        return done, [end.result() for end in ends]


def test_a_deadlock_is_told_as_a_conflict(postgres_stores, now):
    one, other = postgres_stores
    with one.write() as database:
        save_connections(database, [item(key, VAULTS[0]) for key in "ab"], now=now)
    done, ends = lock_crosswise(one, other, again=False)
    assert sorted(ends, key=str) == sorted([None, StoreConflict], key=str)
    assert len(done) == 1


def test_work_that_lost_a_deadlock_is_done_again(postgres_stores, now):
    one, other = postgres_stores
    with one.write() as database:
        save_connections(database, [item(key, VAULTS[0]) for key in "ab"], now=now)
    done, ends = lock_crosswise(one, other, again=True)
    assert ends == [None, None]
    assert sorted(done) == ["back", "there"]


def test_work_that_lost_two_deadlocks_is_done_a_third_time(postgres_stores, now):
    """PostgreSQL chooses who loses by who waited for `deadlock_timeout` first, and may choose the same one again."""
    unlucky, others = postgres_stores
    with unlucky.write() as database:
        save_connections(database, [item(key, VAULTS[0]) for key in "ab"], now=now)
    tries: list[int] = []

    with ThreadPoolExecutor(1) as pool:

        def lose_twice(database) -> None:
            tries.append(1)
            database.exec_driver_sql("SET LOCAL deadlock_timeout = '20ms'")
            lock_by_keys(database, ["a"])
            if len(tries) < 3:
                holds = threading.Event()
                winners.append(pool.submit(win, holds))
                assert holds.wait(20)
            lock_by_keys(database, ["b"])

        def win(holds: threading.Event) -> None:
            with others.write() as database:
                database.exec_driver_sql("SET LOCAL deadlock_timeout = '1min'")
                lock_by_keys(database, ["b"])
                holds.set()
                lock_by_keys(database, ["a"])

        winners: list[Future[None]] = []
        unlucky.write_again(lose_twice)
        assert [winner.result() for winner in winners] == [None, None]
    assert len(tries) == 3


def test_work_is_done_three_times_at_most(store):
    tries = []

    def work(_database) -> None:
        tries.append(1)
        raise StoreConflict("always")

    with pytest.raises(StoreConflict):
        store.write_again(work)
    assert len(tries) == 3
