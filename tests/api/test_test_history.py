"""`/connection/{key}/test_history`, and what `last_test` says."""

import pytest
from sqlalchemy import func, select

from connectory.store.tables import connection_tests, connections
from connectory.store.test_history import MOST_KEPT, record_in_history
from connectory.store.timestamps import utc_now

MEMBERS = [
    "at",
    "test_status",
    "failure_code",
    "failure_reason",
    "failure_fields",
    "retry_after",
    "encrypted",
    "verified",
    "steps",
    "elapsed_ms",
]


def history(api, key="books", **query):
    answer = api.get(f"/connection/{key}/test_history", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_test_of_every_secrets_is_listed_newest_first(api, service):
    api.create("books", secrets={"token": "tiger-lily"})
    assert history(api) == {"items": [], "total": 0, "page": 1, "size": 50, "pages": 0}
    api.get("/connection/books/test")
    api.put("/connection/books/secret", json={"token": "wrong"})
    last = api.get("/connection/books").json()["last_test"]
    found = history(api)
    assert found["total"] == 2
    failed, passed = found["items"]
    assert [*last] == MEMBERS
    assert [*failed] == [*MEMBERS, "actor", "secrets_version"]
    assert failed == last | {"actor": failed["actor"], "secrets_version": 2}
    assert (failed["test_status"], failed["failure_code"]) == ("failed", "auth_failed")
    assert failed["failure_reason"] == "The server rejected the credentials; check user name and password."
    assert failed["at"] == api.get("/connection/books").json()["last_test_timestamp"]
    assert failed["elapsed_ms"] > 0
    assert (passed["test_status"], passed["failure_code"], passed["failure_reason"]) == ("succeeded", None, None)
    assert (passed["secrets_version"], passed["actor"]) == (1, failed["actor"])
    assert passed["at"] < failed["at"]
    assert history(api, page=2, size=1)["items"] == [passed]


def test_the_last_hundred_of_a_connection_are_kept(api, service):
    api.create("books")
    api.create("films")

    def rows():
        count = select(connections.c.key, func.count()).join_from(connection_tests, connections)
        with service.store.read() as database:
            return dict(map(tuple, database.execute(count.group_by(connections.c.key))))

    with service.store.write() as database:
        ids = dict(map(tuple, database.execute(select(connections.c.key, connections.c.id))))
        for number in range(125):
            report = f'{{"status":"failed","code":"timeout","steps":[],"reason":"{number}"}}'
            for key in ("books", "films") if number < 7 else ("books",):
                assert record_in_history(
                    database,
                    ids[key],
                    secrets_version=0,
                    succeeded=False,
                    failure_code="timeout",
                    report=report,
                    actor="somebody",
                    at=utc_now(),
                )
    assert MOST_KEPT <= rows()["books"] < MOST_KEPT + 10
    assert rows()["films"] == 7
    found = history(api, size=100)
    assert (found["total"], found["pages"]) == (100, 1)
    assert [item["failure_reason"] for item in found["items"]] == [str(number) for number in range(124, 24, -1)]
    assert history(api, page=2, size=60)["items"] == found["items"][60:]
    assert history(api, page=3, size=60)["items"] == []
    api.delete("/connection/books")
    assert rows() == {"films": 7}


def test_a_verdict_on_secrets_that_were_replaced_is_not_kept(api, service):
    api.create("books", secrets={"token": "tiger-lily"})
    with service.store.write() as database:
        [connection_id] = database.execute(select(connections.c.id)).scalars()
        verdict = {"succeeded": True, "report": "{}", "actor": "somebody", "at": utc_now()}
        assert not record_in_history(database, connection_id, secrets_version=0, **verdict)
    assert history(api)["total"] == 0


@pytest.mark.parametrize(("query", "status"), [("page=0", 422), ("size=101", 422), ("page=1000000000", 200)])
def test_pages_have_their_limits(api, query, status):
    api.create("books")
    assert api.get(f"/connection/books/test_history?{query}").status_code == status


def test_the_history_of_what_is_not_there_is_a_404(api):
    assert api.get("/connection/books/test_history").status_code == 404
