"""`ETag`, `If-None-Match` and `If-Match`: two people change one connection."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

SECRETS = {"token": "tiger-lily"}


def tag_of(api, key="books"):
    return api.get(f"/connection/{key}").headers["etag"]


CHANGES = {
    "put secrets": lambda api, tag: api.put(
        "/connection/books/secret?verify=false", json=SECRETS, headers={"If-Match": tag}
    ),
    "patch secrets": lambda api, tag: api.patch(
        "/connection/books/secret?verify=false", json=SECRETS, headers={"If-Match": tag}
    ),
    "patch": lambda api, tag: api.patch(
        "/connection", json=[{"key": "books", "description": "mine"}], headers={"If-Match": tag}
    ),
    "delete": lambda api, tag: api.delete("/connection/books", headers={"If-Match": tag}),
}


@pytest.fixture(params=CHANGES)
def change(request):
    """A request that changes the connection `books`, given what `If-Match` says."""
    return CHANGES[request.param]


def test_a_tag_stays_while_nothing_changes_and_spares_the_answer(api):
    api.create("books", secrets=SECRETS)
    tag = tag_of(api)
    assert tag.startswith('"')
    assert tag.endswith('"')
    for header in (tag, "*", f'"other", W/{tag} ,'):
        answer = api.get("/connection/books", headers={"If-None-Match": header})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    for header in ('"other"', tag.strip('"'), f"{tag} {tag}", f'{tag}, "open', ""):
        answer = api.get("/connection/books", headers={"If-None-Match": header})
        assert (answer.status_code, answer.headers["etag"]) == (200, tag)


def test_every_change_of_what_is_shown_changes_the_tag(api):
    tags = []
    for act in (
        lambda: api.create("books"),
        lambda: api.patch("/connection", json=[{"key": "books", "disabled": True}]),
        lambda: api.put("/connection/books/secret?verify=false", json=SECRETS),
        lambda: api.patch("/connection/books/secret?verify=false", json={"token": "other"}),
        lambda: api.patch("/connection", json=[{"key": "books", "secrets": SECRETS}]),
        lambda: api.get("/connection/books/test"),
        lambda: api.get("/connection/books/test"),
    ):
        act()
        tags.append(tag_of(api))
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("header", ["{tag}", '"other", {tag}', "*"])
def test_a_change_of_what_was_read_is_made(api, change, header):
    api.create("books", secrets=SECRETS)
    assert change(api, header.format(tag=tag_of(api))).status_code in (200, 204)


def test_a_change_of_what_somebody_else_changed_is_refused_and_nothing_is_stored(api, change):
    api.create("books", secrets=SECRETS)
    tag = tag_of(api)
    api.patch("/connection", json=[{"key": "books", "description": "theirs"}])
    before = api.get("/connection/books")
    for header in (tag, f"W/{tag_of(api)}", tag_of(api).strip('"'), f'{tag_of(api)}, "open', '"nothing"', ""):
        answer = change(api, header)
        assert answer.status_code == 412
        assert "read it again with GET /connection/books" in answer.json()["detail"]
    after = api.get("/connection/books")
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])


def test_a_test_since_does_not_stand_in_the_way(api, change):
    api.create("books", secrets=SECRETS)
    tag = tag_of(api)
    api.get("/connection/books/test")
    assert tag_of(api) != tag
    assert change(api, tag).status_code in (200, 204)


def test_one_that_was_deleted_and_made_again_is_another(api, change):
    api.create("books")
    tag = tag_of(api)
    api.delete("/connection/books")
    api.create("books")
    assert change(api, tag).status_code == 412


def test_what_is_not_there_is_a_404_and_is_not_made(api, change):
    answer = change(api, "*")
    assert answer.status_code in (404, 412)
    assert api.get("/connection/books").status_code == 404


def test_a_change_wins_over_what_is_wrong_with_a_body_and_not_over_its_form(api):
    api.create("books")
    other = {"If-Match": '"other"'}
    assert api.put("/connection/books/secret", json={"unknown": 1}, headers=other).status_code == 412
    assert api.patch("/connection", json=[{"key": "books", "access": 1}], headers=other).status_code == 422


@pytest.mark.parametrize("items", [[], [{"key": "books"}, {"key": "films"}]])
def test_a_tag_goes_with_one_item(api, items):
    api.create("books")
    answer = api.patch("/connection", json=items, headers={"If-Match": tag_of(api)})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "If-Match"]


@pytest.mark.parametrize("name", ["put secrets", "patch secrets", "patch"])
def test_of_many_who_change_the_same_version_one_does(api, name):
    api.create("books", secrets=SECRETS)
    tag, together = tag_of(api), threading.Barrier(6)

    def change(_):
        together.wait()
        return CHANGES[name](api, tag).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(change, range(6))) == [200, 412, 412, 412, 412, 412]
