"""What runs by schedule: when, on which node, and what is recorded of it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from connectory.api.app import create_app, open_service
from connectory.api.watching.schedule_runner import ScheduleRunner
from connectory.checks.runner import QueueFull, ShuttingDown
from connectory.store.connections import get_by_key
from connectory.store.tables import connections, schedules
from connectory.store.verdicts import list_verdicts
from testkit.in_process import LocalClient
from testkit.waiting import wait_until


@pytest.fixture
def run_at(anonymous, service):
    """Run, as a node does, what is due in so many minutes; says how much was begun."""

    def run_at(minutes, *, of=service):
        async def work():
            now = datetime.now(UTC) + timedelta(minutes=minutes)
            runner = ScheduleRunner(of, at_once=4, clock=lambda _: now)
            begun = await runner.work.round()
            await runner.work.idle()
            return begun

        return anonymous.portal.call(work)

    return run_at


def verdicts(service, key="books"):
    with service.store.read() as database:
        return list_verdicts(database, get_by_key(database, key).id)[0]


def schedule(api, key="books", **every):
    answer = api.put(f"/connection/{key}/schedule", json=every)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_connection_is_tested_when_that_is_due_and_then_due_again(api, service, run_at):
    api.create("books", secrets={"token": "tiger-lily"})
    before = schedule(api, test_every="15m")
    trail = api.get("/audit?action=tested&size=1").json()["total"]

    assert run_at(10) == 0
    assert run_at(15) == 1
    assert run_at(15) == 0

    after = api.get("/connection/books/schedule").json()
    gap = datetime.fromisoformat(after["test_due_at"]) - datetime.fromisoformat(before["test_due_at"])
    assert gap == timedelta(minutes=15)
    assert after["test_ran_at"] is not None
    assert api.get("/connection/books").json()["last_test_succeeded"] is True
    [past] = api.get("/connection/books/test_history").json()["items"]
    assert (past["actor"], past["test_status"]) == ("schedule", "succeeded")
    [verdict] = verdicts(service)
    assert (verdict.kind, verdict.actor, verdict.outcome, verdict.secrets_version) == ("test", None, "succeeded", 1)
    assert verdict.elapsed_ms > 0
    assert api.get("/audit?action=tested&size=1").json()["total"] == trail
    metrics = api.client.get("/metrics", headers=api.headers).text
    assert 'connectory_schedule_runs_total{kind="test",result="succeeded"}' in metrics
    assert "connectory_schedule_due 0.0" in metrics


def test_what_was_missed_for_days_runs_once(api, service, run_at):
    api.create("books", secrets={"token": "wrong"})
    schedule(api, test_every="1m")
    assert [run_at(60 * 24 * 3) for _ in range(3)] == [1, 0, 0]
    [verdict] = verdicts(service)
    assert (verdict.outcome, verdict.failure_code) == ("failed", "auth_failed")


def test_every_dataset_of_a_connection_is_checked(api, service, run_at):
    api.create("books", secrets={"token": "t"})
    collections = [{"name": name, "fields": [{"name": "email"}]} for name in ("2025", "2026")]
    sets = [
        {"fides_key": "whole", "collections": collections},
        {"fides_key": "part", "collections": collections[:1]},
    ]
    assert api.patch("/connection/books/dataset", json=sets).json()["failed"] == []
    schedule(api, check_every="1d")
    trail = api.get("/audit?action=discovered&size=1").json()["total"]

    assert run_at(60 * 24) == 1

    whole, part = verdicts(service)
    assert (whole.dataset, whole.outcome, whole.coverage, whole.findings) == ("whole", "fits", 100, 0)
    assert (part.dataset, part.outcome, part.coverage, part.findings) == ("part", "drifted", 50, 1)
    assert {verdict.actor for verdict in (whole, part)} == {None}
    assert api.get("/audit?action=discovered&size=1").json()["total"] == trail
    assert api.get("/connection/books/schedule").json()["check_ran_at"] is not None


def test_a_connection_that_is_disabled_is_left_alone_and_due_once_when_it_is_not(api, service, run_at):
    api.create("books", disabled=True, secrets={"token": "t"})
    schedule(api, test_every="1m")
    assert run_at(60) == 0
    api.create("books")
    assert api.patch("/connection", json=[{"key": "books", "connection_type": "api_ledger", "disabled": False}])
    assert [run_at(60), run_at(60)] == [1, 0]


def test_where_there_is_no_room_it_is_tried_again_soon(api, service, run_at, monkeypatch):
    api.create("books", secrets={"token": "t"})
    schedule(api, test_every="1h")

    async def full(*_arguments):
        raise QueueFull(3)

    with monkeypatch.context() as patched:
        patched.setattr(service.runner, "run", full)
        assert run_at(60) == 1
    assert verdicts(service) == []
    assert api.get("/connection/books/schedule").json()["test_ran_at"] is None
    assert run_at(60.4) == 0
    assert run_at(60.6) == 1
    assert len(verdicts(service)) == 1


def test_a_verdict_of_secrets_that_were_replaced_meanwhile_is_not_kept(api, service, run_at, monkeypatch):
    api.create("books", secrets={"token": "t"})
    schedule(api, test_every="1h")
    run = service.runner.run

    async def replacing(*arguments):
        report = await run(*arguments)
        await service.threads.write(replace_secrets)
        return report

    def replace_secrets():
        with service.store.write() as database:
            database.execute(update(connections).values(secrets_version=2))

    monkeypatch.setattr(service.runner, "run", replacing)
    assert run_at(60) == 1
    assert verdicts(service) == []


def test_a_service_that_is_ending_begins_nothing(api, settings, catalog, run_at):
    api.create("books", secrets={"token": "t"})
    schedule(api, test_every="1m")
    ending = open_service(settings, catalog)
    with LocalClient(create_app(ending)) as client:
        client.portal.call(ending.runner.take_no_more)
        assert run_at(60, of=ending) == 0
    assert run_at(60) == 1


def test_what_a_node_gives_up_because_it_ends_another_runs_at_once(api, service, settings, catalog, run_at):
    api.create("books", secrets={"token": "t"})
    schedule(api, test_every="1h")
    ending = open_service(settings, catalog)

    async def ended(*_arguments):
        ending.runner.take_no_more()
        raise ShuttingDown

    with LocalClient(create_app(ending)):
        ending.runner.run = ended
        assert run_at(60, of=ending) == 1
    assert verdicts(service) == []
    assert run_at(60) == 1
    assert len(verdicts(service)) == 1


@pytest.mark.parametrize("anonymous", ["postgresql"], indirect=True)  # which several nodes share
def test_of_several_nodes_one_runs_each_that_is_due(api, service, settings, catalog):
    keys = [f"k{number}" for number in range(20)]
    for key in keys:
        api.create(key, secrets={"token": "t"})
        schedule(api, key, test_every="1h")
    nodes = [open_service(settings, catalog) for _ in range(2)]
    everywhere = [node.health_counts.runs for node in (service, *nodes)]
    before = sum(runs.total() for runs in everywhere)
    with service.store.write() as database:
        database.execute(update(schedules).values(due_at=datetime.now(UTC) - timedelta(hours=1)))

    with LocalClient(create_app(nodes[0])), LocalClient(create_app(nodes[1])):
        wait_until(lambda: all(api.get(f"/connection/{key}/schedule").json()["test_ran_at"] for key in keys))

    assert [len(verdicts(service, key)) for key in keys] == [1] * 20
    assert sum(runs.total() for runs in everywhere) - before == 20
