"""Writers at the same time: every one is answered, and none is lost."""

from concurrent.futures import ThreadPoolExecutor


def at_once(function, count):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, range(count)))


def test_twenty_patches_of_one_new_key_give_twenty_answers_and_one_row(api):
    def save(number):
        item = {"key": "contested", "name": f"n{number}", "connection_type": "api_ledger", "access": "read"}
        return api.patch("/connection", json=[item])

    answers = at_once(save, 20)
    assert [answer.status_code for answer in answers] == [200] * 20
    assert all(len(answer.json()["succeeded"]) == 1 for answer in answers)
    page = api.get("/connection").json()
    assert page["total"] == 1
    assert page["items"][0]["name"] in {f"n{number}" for number in range(20)}


def test_changes_of_different_members_are_not_lost(api):
    api.create("contested")
    changes = [{"name": "new"}, {"access": "write"}, {"disabled": True}, {"description": "new"}]
    answers = at_once(lambda number: api.patch("/connection", json=[{"key": "contested"} | changes[number]]), 4)
    assert all(answer.status_code == 200 for answer in answers)
    shown = api.get("/connection/contested").json()
    assert (shown["name"], shown["access"], shown["disabled"], shown["description"]) == ("new", "write", True, "new")


def test_merges_of_different_secrets_are_not_lost(api):
    parts = {"host": "h.example", "username": "u", "password": "p", "dbname": "d"}
    api.create("db", "postgres", secrets=parts)
    changes = [{"dbname": "new"}, {"db_schema": "new"}, {"username": "new", "password": "p"}]
    path = "/connection/db/secret?verify=false"
    answers = at_once(lambda number: api.patch(path, json=changes[number % 3]), 9)
    assert [answer.status_code for answer in answers] == [200] * 9
    shown = api.get("/connection/db").json()["secrets"]
    assert (shown["dbname"], shown["db_schema"], shown["username"]) == ("new", "new", "new")


def test_two_requests_with_overlapping_lists_do_not_deadlock(api):
    items = [{"key": f"k{number}", "connection_type": "api_ledger", "access": "read"} for number in range(20)]

    def save(number):
        return api.patch("/connection", json=items if number % 2 else items[::-1])

    assert [answer.status_code for answer in at_once(save, 8)] == [200] * 8
    assert api.get("/connection").json()["total"] == 20
