"""`/connection/{key}/schedule`."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from connectory.store.tables import schedules

PATH = "/connection/books/schedule"


def due_in(answer, kind):
    return datetime.fromisoformat(answer[f"{kind}_due_at"]) - datetime.now(UTC)


def test_a_schedule_says_when_each_is_due_and_when_it_last_ran(api, service):
    api.create("books")
    answer = api.put(PATH, json={"test_every": "15m", "check_every": "24h"})
    assert answer.status_code == 200
    shown = answer.json()
    assert api.get(PATH).json() == shown
    assert shown | {"test_due_at": "", "check_due_at": ""} == {
        "test_every": "15m",
        "test_due_at": "",
        "test_ran_at": None,
        "check_every": "1d",
        "check_due_at": "",
        "check_ran_at": None,
        "paused": False,
    }
    assert timedelta(minutes=12) < due_in(shown, "test") <= timedelta(minutes=15)
    assert timedelta(hours=21) < due_in(shown, "check") <= timedelta(days=1)

    at = datetime(2026, 11, 1, tzinfo=UTC)
    with service.store.write() as database:
        database.execute(update(schedules).where(schedules.c.kind == "test").values(ran_at=at))
    assert api.get(PATH).json() == shown | {"test_ran_at": "2026-11-01T00:00:00+00:00"}


def test_what_keeps_its_interval_is_due_when_it_was_and_what_is_not_named_ends(api):
    api.create("books")
    before = api.put(PATH, json={"test_every": "1h", "check_every": "1d"}).json()
    after = api.put(PATH, json={"test_every": "60m"}).json()
    assert after == before | {"check_every": None, "check_due_at": None}
    assert api.put(PATH, json={"check_every": "2d"}).json()["test_every"] is None


@pytest.mark.parametrize("given", ["1m", "43200m", "720h", "30d", "7d"])
def test_intervals_that_are_accepted(api, given):
    api.create("books")
    assert api.put(PATH, json={"test_every": given}).status_code == 200


@pytest.mark.parametrize(
    "given", ["", "0m", "90s", "15", "m", "1.5h", "-5m", "05m", " 5m", "5m\n", "5M", "31d", "721h", "43201m", "٣m"]
)
@pytest.mark.parametrize("field", ["test_every", "check_every"])
def test_intervals_that_are_not(api, anonymous, field, given):
    api.create("books")
    answer = api.put(PATH, json={field: given})
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem == {
        "loc": ["body", field],
        "msg": "Must be a whole number of minutes, hours or days, like 15m, 6h or 1d: at least 1m, at most 30d.",
        "type": "interval_invalid",
    }


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "schedule_empty"),
        ({"test_every": None}, "string_type"),
        ({"test_every": 15}, "string_type"),
        ({"every": "1m"}, "extra_forbidden"),
        ([], "model_type"),
    ],
)
def test_other_bodies_are_refused(api, body, kind):
    api.create("books")
    answer = api.put(PATH, json=body)
    assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, kind)
    assert api.get(PATH).status_code == 404


def test_a_disabled_connection_is_paused(api):
    created = api.create("books")
    api.put(PATH, json={"test_every": "15m"})
    api.create("books", disabled=True, name=created["name"])
    paused = api.get(PATH).json()
    assert (paused["test_every"], paused["test_due_at"], paused["paused"]) == ("15m", None, True)


def test_checks_need_a_connector_that_can_be_discovered(api):
    api.create("paper", "manual")
    answer = api.put("/connection/paper/schedule", json={"check_every": "1d"})
    assert answer.status_code == 409
    assert "cannot be discovered" in answer.json()["detail"]
    assert api.put("/connection/paper/schedule", json={"test_every": "1d"}).status_code == 200


def test_a_schedule_ends(api):
    api.create("books")
    assert api.delete(PATH).status_code == 404
    api.put(PATH, json={"test_every": "15m"})
    assert api.delete(PATH).status_code == 204
    assert api.get(PATH).json() == {"detail": "The connection 'books' has no schedule."}
    for call in (api.get, api.delete):
        assert call("/connection/none/schedule").status_code == 404
    assert api.put("/connection/none/schedule", json={"test_every": "?"}).status_code == 404


def test_scopes_and_the_audit_trail(api, anonymous, token_for):
    api.create("books")
    reader = {"Authorization": f"Bearer {token_for('connection:read')}"}
    for method in ("PUT", "DELETE"):
        assert anonymous.request(method, f"/api/v1{PATH}", headers=reader, json={}).status_code == 403
    api.put(PATH, json={"test_every": "15m", "check_every": "1d"})
    assert anonymous.get(f"/api/v1{PATH}", headers=reader).status_code == 200
    api.delete(PATH)
    ended, put = api.get("/audit?action=schedule*&size=2").json()["items"]
    assert (ended["action"], ended["connection_key"], ended["result_code"]) == ("schedule_deleted", "books", "204")
    assert (put["action"], put["changed_fields"]) == ("schedule_set", ["check_every", "test_every"])
    assert put["details"] == {"check_every": "1d", "test_every": "15m"}
