"""Schedules: when something is due, and who does it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import update

from connectory.store import connections
from connectory.store.engine import open_store
from connectory.store.schedules import (
    Backlog,
    claim,
    count_due,
    delete_schedule,
    finish,
    get_schedule,
    keep,
    next_due,
    put_schedule,
    release,
)
from connectory.store.tables import connections as connection_rows

MINUTE = timedelta(minutes=1)
LASTS = timedelta(seconds=30)


@pytest.fixture
def scheduled(store, save_one, now):
    """The id of a connection that is tested every minute."""
    with store.write() as database:
        row = save_one(database, "books").id
        assert put_schedule(database, row, {"test": 60}, now=now)
    return row


def test_what_is_due_comes_once_in_each_interval_and_never_late(now):
    for key in map(str, range(50)):
        due = [next_due(key, "test", 600, now, now + timedelta(seconds=600 * number)) for number in range(4)]
        assert now + timedelta(seconds=540) <= due[0] <= now + timedelta(seconds=600)
        assert {after - before for before, after in pairwise(due)} == {timedelta(seconds=600)}
        assert next_due(key, "test", 600, now, due[0]) == due[1]
        assert next_due(key, "test", 600, now, due[0] - timedelta(microseconds=1)) == due[0]


def test_connections_whose_schedules_were_set_at_once_are_due_apart_and_at_the_same_times_after_a_restart(now):
    first = [next_due(str(number), "test", 600, now, now) for number in range(100)]
    assert len(set(first)) == 100
    assert max(first) - min(first) > timedelta(seconds=40)
    assert first == [next_due(str(number), "test", 600, now, now) for number in range(100)]


def test_an_item_is_claimed_when_it_is_due_and_again_when_it_has_run(store, scheduled, now):
    with store.write() as database:
        [schedule] = get_schedule(database, scheduled)
        assert (schedule.kind, schedule.every, schedule.ran_at) == ("test", 60, None)
        before = schedule.due_at - timedelta(microseconds=1)
        assert claim(database, 9, now=before, lasts=LASTS) == []
        [item] = claim(database, 9, now=schedule.due_at, lasts=LASTS)
        assert item.connection_id == scheduled
        assert claim(database, 9, now=schedule.due_at, lasts=LASTS) == []
        assert finish(database, item, now=schedule.due_at + timedelta(seconds=1))
        [after] = get_schedule(database, scheduled)
        assert after.ran_at == schedule.due_at + timedelta(seconds=1)
        assert after.due_at == schedule.due_at + MINUTE
        assert not finish(database, item, now=after.due_at)


def test_what_was_missed_for_hours_is_due_once(store, scheduled, now):
    later = now + timedelta(hours=5)
    with store.write() as database:
        [item] = claim(database, 9, now=later, lasts=LASTS)
        assert finish(database, item, now=later)
        assert claim(database, 9, now=later, lasts=LASTS) == []
        assert later < get_schedule(database, scheduled)[0].due_at <= later + MINUTE


def test_what_a_node_that_died_held_is_claimed_once_it_is_held_no_more(store, scheduled, now):
    due = now + MINUTE
    with store.write() as database:
        [lost] = claim(database, 9, now=due, lasts=LASTS)
        assert keep(database, lost, now=due + LASTS / 2, lasts=LASTS)
        assert claim(database, 9, now=due + LASTS, lasts=LASTS) == []
        [item] = claim(database, 9, now=due + LASTS * 1.5, lasts=LASTS)
        assert item.holder != lost.holder
        assert not keep(database, lost, now=due + LASTS * 2, lasts=LASTS)
        assert not finish(database, lost, now=due + LASTS * 2)
        assert finish(database, item, now=due + LASTS * 2)


def test_what_is_given_back_is_claimed_again_when_it_was_said(store, scheduled, now):
    due = now + MINUTE
    with store.write() as database:
        [item] = claim(database, 9, now=due, lasts=LASTS)
        release(database, item, until=due + timedelta(seconds=5))
        assert claim(database, 9, now=due + timedelta(seconds=4), lasts=LASTS) == []
        assert len(claim(database, 9, now=due + timedelta(seconds=5), lasts=LASTS)) == 1


def test_a_disabled_connection_is_not_claimed(store, scheduled, now):
    with store.write() as database:
        database.execute(update(connection_rows).values(disabled=True))
        assert claim(database, 9, now=now + MINUTE, lasts=LASTS) == []
        assert count_due(database, now=now + MINUTE, late_before=now + MINUTE) == Backlog(0, 0)
        database.execute(update(connection_rows).values(disabled=False))
        assert count_due(database, now=now + MINUTE, late_before=now) == Backlog(1, 0)
        assert count_due(database, now=now + MINUTE, late_before=now + MINUTE) == Backlog(1, 1)


def test_a_new_interval_counts_from_now_and_one_that_is_the_same_goes_on(store, scheduled, now):
    later = now + timedelta(seconds=30)
    with store.write() as database:
        [before] = get_schedule(database, scheduled)
        assert put_schedule(database, scheduled, {"test": 60, "check": 3600}, now=later)
        test, check = get_schedule(database, scheduled)
        assert test == before
        assert (check.kind, check.due_at > later + timedelta(minutes=54)) == ("check", True)
        put_schedule(database, scheduled, {"test": 120}, now=later)
        [test] = get_schedule(database, scheduled)
        assert test.due_at >= later + timedelta(seconds=108)


def test_a_schedule_goes_with_its_connection(store, scheduled, now):
    with store.write() as database:
        assert delete_schedule(database, scheduled)
        assert not delete_schedule(database, scheduled)
        put_schedule(database, scheduled, {"test": 60}, now=now)
        connections.delete(database, scheduled)
        assert get_schedule(database, scheduled) == []
        assert not put_schedule(database, scheduled, {"test": 60}, now=now)


def test_of_many_that_claim_at_once_one_gets_each(store, store_url, save_one, now):
    with store.write() as database:
        for number in range(20):
            put_schedule(database, save_one(database, f"k{number}").id, {"test": 60}, now=now)

    def claimed(_: int) -> list[str]:
        with open_store(store_url) as other:
            found = []
            while True:
                with other.write() as database:
                    items = claim(database, 3, now=now + MINUTE, lasts=LASTS)
                if not items:
                    return found
                found += [item.id for item in items]

    with ThreadPoolExecutor(4) as pool:
        found = [each for one in pool.map(claimed, range(4)) for each in one]
    assert (len(found), len(set(found))) == (20, 20)
