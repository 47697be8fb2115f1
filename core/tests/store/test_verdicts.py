"""Verdicts over time: whether one has changed, what is listed, and what is kept."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connectory.store.verdicts import Verdict, list_verdicts, purge_verdicts, record_verdict


@pytest.fixture
def connection_id(store, save_one):
    with store.write() as database:
        return save_one(database, "books").id


@pytest.fixture
def record(store, connection_id):
    def record(*verdicts):
        with store.write() as database:
            return [record_verdict(database, connection_id, verdict) for verdict in verdicts]

    return record


@pytest.fixture
def passed(now):
    return Verdict("test", "", now, "backoffice", 1, "succeeded", elapsed_ms=8.5)


def test_a_verdict_is_compared_with_the_last_one_of_the_same_secrets(record, passed):
    refused = replace(passed, outcome="failed", failure_code="auth_failed")
    refused_later = replace(refused, failure_code="timeout")
    renewed = replace(passed, secrets_version=2)
    told = record(passed, passed, refused, refused_later, passed, replace(refused, secrets_version=2), renewed)
    assert told == [None, None, "succeeded", None, "failed", None, "failed"]


def test_a_dataset_is_compared_with_itself(record, passed):
    fits = replace(passed, kind="check", dataset="shop", outcome="fits", coverage=100, findings=0)
    drifted = replace(fits, outcome="drifted", coverage=93, findings=2)
    told = record(fits, replace(drifted, dataset="books"), passed, drifted, fits)
    assert told == [None, None, None, "fits", "drifted"]


def test_all_are_listed_newest_first(store, connection_id, record, passed):
    check = replace(passed, kind="check", dataset="shop", actor=None, outcome="drifted", coverage=93, findings=2)
    record(passed, check)
    with store.read() as database:
        assert list_verdicts(database, connection_id) == ([check, passed], 2)
        assert list_verdicts(database, connection_id, page=2, size=1) == ([passed], 2)
        assert list_verdicts(database, "none") == ([], 0)


def test_old_ones_are_dropped_but_for_the_last_of_each_subject(store, connection_id, record, passed, now):
    check = replace(passed, kind="check", dataset="shop", outcome="fits")
    record(check, *(replace(passed, at=now + timedelta(days=day)) for day in range(3)))
    purge_verdicts(store, before=now + timedelta(days=1))
    with store.read() as database:
        left = [(verdict.kind, verdict.at - now) for verdict in list_verdicts(database, connection_id)[0]]
        assert left == [("test", timedelta(days=2)), ("test", timedelta(days=1)), ("check", timedelta(0))]
    purge_verdicts(store, before=now + timedelta(days=9))
    with store.read() as database:
        assert [verdict.kind for verdict in list_verdicts(database, connection_id)[0]] == ["test", "check"]


def test_more_than_one_batch_is_dropped(store, connection_id, record, passed, now):
    record(*[passed] * 1101)
    purge_verdicts(store, before=now + timedelta(days=1))
    with store.read() as database:
        assert list_verdicts(database, connection_id)[1] == 1
