"""`/connection/{key}/history`."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from connectory.api.watching.history import purging
from connectory.store.tables import verdicts


def history(api, key="books", **query):
    answer = api.get(f"/connection/{key}/history", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_tests_and_checks_are_listed_newest_first(api):
    api.create("books", secrets={"token": "tiger-lily"})
    assert history(api) == {"items": [], "total": 0, "page": 1, "size": 50, "pages": 0}
    collections = [{"name": name, "fields": [{"name": "email"}, {"name": "title"}]} for name in ("2025", "2026")]
    assert api.patch("/connection/books/dataset", json=[{"fides_key": "shelf", "collections": collections}])
    api.get("/connection/books/test")
    api("POST", "/connection/books/dataset/shelf/check")
    api.put("/connection/books/secret", json={"token": "wrong"})
    api("POST", "/connection/books/dataset/shelf/check")

    found = history(api)

    assert found["total"] == 4
    actor = found["items"][0]["actor"]
    assert actor
    common = {"by": "hand", "actor": actor, "coverage": None, "findings": None}
    expected = [
        {"kind": "check", "secrets_version": 2, "outcome": "failed", "failure_code": "auth_failed", "dataset": "shelf"},
        {"kind": "test", "secrets_version": 2, "outcome": "failed", "failure_code": "auth_failed", "dataset": None},
        {"kind": "check", "secrets_version": 1, "outcome": "drifted", "failure_code": None, "dataset": "shelf"},
        {"kind": "test", "secrets_version": 1, "outcome": "succeeded", "failure_code": None, "dataset": None},
    ]
    expected[2] |= {"coverage": 100, "findings": 2}
    at = [item.pop("at") for item in found["items"]]
    assert at == sorted(at, reverse=True)
    assert all(item.pop("elapsed_ms") > 0 for item in found["items"])
    assert found["items"] == [common | one for one in expected]
    assert [item["kind"] for item in history(api, page=2, size=3)["items"]] == ["test"]
    assert [item["secrets_version"] for item in history(api, kind="test")["items"]] == [2, 1]
    assert [item["kind"] for item in history(api, outcome=["failed", "drifted"])["items"]] == ["check", "test", "check"]
    assert history(api, outcome="drifted", dataset="shelf")["total"] == 1
    assert history(api, kind="test", dataset="shelf")["total"] == 0
    assert history(api, dataset="\0")["total"] == 0


def test_what_says_nothing_about_the_connection_is_not_kept(api, service, monkeypatch):
    api.create("paper", "manual")
    api.get("/connection/paper/test")
    assert history(api, "paper")["total"] == 0
    api.create("books", secrets={"token": "t"})
    assert api.patch("/connection/books/dataset", json=[{"fides_key": "shelf", "collections": []}]).json()
    monkeypatch.setattr(service.runner.sessions, "_ending", True)
    answer = api("POST", "/connection/books/dataset/shelf/check").json()
    assert answer["status"] == "failed"
    assert history(api)["total"] == 0


def test_old_verdicts_are_deleted_now_and_then(api, service):
    api.create("books", secrets={"token": "t"})
    for _ in range(3):
        api.get("/connection/books/test")
    old = datetime.now(UTC) - timedelta(days=8)
    with service.store.write() as database:
        database.execute(update(verdicts).where(verdicts.c.number <= 2).values(at=old))
    longer, purge = purging(service.store, days=9), purging(service.store, days=7)
    longer()
    assert history(api)["total"] == 3
    purge()
    assert history(api)["total"] == 1
    with service.store.write() as database:
        database.execute(update(verdicts).values(at=old))
    api.get("/connection/books/test")
    purge()
    assert history(api)["total"] == 2  # it was deleted a moment ago


@pytest.mark.parametrize(
    "query", ["page=0", "size=101", "size=x", "kind=tests", "outcome=", "dataset=", "dataset=" + 201 * "x"]
)
def test_pages_and_filters_that_are_none(api, query):
    api.create("books")
    assert api.get(f"/connection/books/history?{query}").status_code == 422


def test_a_connection_that_is_not_there_and_a_token_without_the_scope(api, anonymous, token_for):
    assert api.get("/connection/none/history").status_code == 404
    headers = {"Authorization": f"Bearer {token_for('dataset:read')}"}
    assert anonymous.get("/api/v1/connection/none/history", headers=headers).status_code == 403
