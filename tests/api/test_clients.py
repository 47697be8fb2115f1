"""Clients and tokens, looked after over the API."""

import re

import pytest
from sqlalchemy import update

from connectory.store.audit_search import Wanted, list_entries
from connectory.store.clients import delete_client, list_clients
from connectory.store.tables import clients

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def login(anonymous, client_id, secret, **form):
    form |= {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return anonymous.post("/api/v1/oauth/token", data=form)


@pytest.fixture
def bearer(anonymous):
    """Make a token of a client by its secret."""

    def ask(made, **form):
        return login(anonymous, made["client_id"], made["client_secret"], **form).json()["access_token"]

    return ask


@pytest.fixture
def status(anonymous):
    """What a token is answered."""

    def ask(token):
        return anonymous.get("/api/v1/connection", headers={"Authorization": f"Bearer {token}"}).status_code

    return ask


@pytest.fixture
def manager(api, token_for):
    """The API with `client:manage` and one more scope."""
    return type(api)(api.client, token_for("client:manage", "connection:read"))


@pytest.fixture
def made(manager):
    return manager("POST", "/client", json={"name": "dashboard", "scopes": ["connection:read"]}).json()


def trail(service, client_id):
    with service.store.read() as database:
        entries = list_entries(database, Wanted(object=client_id))[0]
    return [(entry.action, entry.result_code, entry.details) for entry in reversed(entries)]


def test_a_client_is_made_with_a_secret_that_is_shown_once(manager, service, bearer, status):
    answer = manager("POST", "/client", json={"name": "dashboard", "scopes": ["connection:read", "connection:read"]})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    assert list(made) == ["client_id", "name", "scopes", "created_at", "tokens", "client_secret"]
    assert re.fullmatch(UUID, made["client_id"])
    secret = made.pop("client_secret")
    assert manager.get(f"/client/{made['client_id']}").json() == made
    assert (made["name"], made["scopes"], made["tokens"]) == ("dashboard", ["connection:read"], 0)
    assert status(bearer(made | {"client_secret": secret})) == 200
    told = trail(service, made["client_id"])
    assert told[0] == ("client_created", "201", {"name": "dashboard", "scopes": "connection:read"})
    assert secret not in repr(told)


def test_clients_are_listed_oldest_first_with_their_live_tokens(manager, made, bearer):
    bearer(made)
    bearer(made)
    first = manager.get("/client?size=1").json()
    last = manager.get(f"/client?size=1&page={first['pages']}").json()
    shown = {name: value for name, value in made.items() if name != "client_secret"} | {"tokens": 2}
    assert last["items"] == [shown]
    assert last["total"] == last["pages"] >= 2
    assert manager.get("/client?page=99999").json()["items"] == []


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        ({"name": "x"}, ["body", "scopes"], "missing"),
        ({"name": "", "scopes": ["connection:read"]}, ["body", "name"], "string_too_short"),
        ({"name": "a\x00marker", "scopes": ["connection:read"]}, ["body", "name"], "string_pattern_mismatch"),
        ({"name": "x", "scopes": []}, ["body", "scopes"], "too_short"),
        ({"name": "x", "scopes": ["marker"]}, ["body", "scopes", 0], "literal_error"),
        ({"name": "x", "scopes": ["connection:read"], "marker": 1}, ["body"], "extra_forbidden"),
        (["marker"], ["body"], "model_type"),
    ],
)
def test_a_client_that_does_not_fit_is_not_made(manager, body, loc, kind):
    answer = manager("POST", "/client", json=body)
    [problem] = answer.json()["detail"]
    assert (answer.status_code, problem["loc"], problem["type"]) == (422, loc, kind)
    assert "marker" not in answer.text


def test_nobody_gives_a_client_a_scope_that_the_own_token_lacks(manager, api, service):
    answer = manager("POST", "/client", json={"name": "x", "scopes": ["connection:read", "audit:read"]})
    assert (answer.status_code, "audit:read" in answer.json()["detail"]) == (403, True)
    stronger = api("POST", "/client", json={"name": "strong", "scopes": ["audit:read"]}).json()
    answer = manager("POST", f"/client/{stronger['client_id']}/secret", json={"revoke_tokens": True})
    assert (answer.status_code, "audit:read" in answer.json()["detail"]) == (403, True)
    assert login(manager.client, stronger["client_id"], stronger["client_secret"]).status_code == 200
    assert [action for action, _, _ in trail(service, stronger["client_id"])] == ["client_created", "token_issued"]


@pytest.mark.parametrize("revoke", [None, False, True])
def test_a_new_secret_ends_the_old_one_and_the_tokens_where_that_is_asked_for(
    manager, service, made, bearer, status, revoke
):
    token = bearer(made)
    assert status(token) == 200
    body = {} if revoke is None else {"json": {"revoke_tokens": revoke}}
    answer = manager("POST", f"/client/{made['client_id']}/secret", **body)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    renewed = answer.json()
    assert list(renewed) == ["client_id", "client_secret", "revoked_tokens"]
    assert (renewed["client_id"], renewed["revoked_tokens"]) == (made["client_id"], 1 if revoke else 0)
    assert status(token) == (401 if revoke else 200)  # at once: this node has forgotten that it knew the token
    assert login(manager.client, made["client_id"], made["client_secret"]).status_code == 401
    assert status(bearer(renewed)) == 200
    changes = ("client_secret_rotated", "tokens_revoked")
    told = [entry for entry in trail(service, made["client_id"]) if entry[0] in changes]
    assert told[0] == ("client_secret_rotated", "200", {})
    assert told[1:] == ([("tokens_revoked", "200", {"times": 1})] if revoke else [])


def test_the_body_of_a_rotation_is_checked(manager, made):
    path = f"/client/{made['client_id']}/secret"
    assert manager("POST", path, json={"revoke_tokens": "yes"}).status_code == 422
    assert manager.raw("POST", path, b"revoke_tokens=true", "application/x-www-form-urlencoded").status_code == 415
    assert login(manager.client, made["client_id"], made["client_secret"]).status_code == 200


def test_tokens_are_listed_newest_first_and_revoked_one_by_one(manager, service, made, bearer, status):
    kept, stolen = bearer(made), bearer(made)
    assert (status(kept), status(stolen)) == (200, 200)
    path = f"/client/{made['client_id']}/token"
    page = manager.get(path).json()
    assert (page["total"], len(page["items"])) == (2, 2)
    newest = page["items"][0]
    assert list(newest) == ["id", "scopes", "created_at", "expires_at"]
    assert newest["created_at"] > page["items"][1]["created_at"]
    assert newest["scopes"] == ["connection:read"]
    assert re.fullmatch(r"[0-9a-f]{16}", newest["id"])
    assert not {part for token in (kept, stolen) for part in (token, token[:16]) if part in str(page)}
    assert manager.delete(f"{path}/{newest['id']}").status_code == 204
    assert (status(kept), status(stolen)) == (200, 401)
    assert manager.delete(f"{path}/{newest['id']}").status_code == 404
    assert manager.get(path).json()["total"] == 1
    assert manager.delete(path).status_code == 204
    assert (status(kept), manager.get(path).json()["items"]) == (401, [])
    told = [entry for entry in trail(service, made["client_id"]) if entry[0] == "tokens_revoked"]
    assert told == [("tokens_revoked", "204", {"times": 1})] * 2
    assert login(manager.client, made["client_id"], made["client_secret"]).status_code == 200


def test_the_token_of_another_client_is_not_revoked(manager, made, bearer, status):
    other = manager("POST", "/client", json={"name": "other", "scopes": ["connection:read"]}).json()
    token = bearer(other)
    [listed] = manager.get(f"/client/{other['client_id']}/token").json()["items"]
    assert manager.delete(f"/client/{made['client_id']}/token/{listed['id']}").status_code == 404
    assert status(token) == 200


def test_a_client_is_deleted_with_its_tokens_at_once(manager, service, made, bearer, status):
    token = bearer(made)
    assert status(token) == 200
    assert manager.delete(f"/client/{made['client_id']}").status_code == 204
    assert status(token) == 401
    assert login(manager.client, made["client_id"], made["client_secret"]).status_code == 401
    assert manager.get(f"/client/{made['client_id']}").status_code == 404
    told = [entry for entry in trail(service, made["client_id"]) if entry[1] == "204"]
    assert told == [("client_deleted", "204", {}), ("tokens_revoked", "204", {"times": 1})]


@pytest.mark.parametrize("client_id", ["nobody", "%00", "a" * 300, "%F0%9F%98%80"])
def test_a_client_that_nobody_knows_is_a_404(manager, client_id):
    answers = [
        manager("GET", f"/client/{client_id}"),
        manager("DELETE", f"/client/{client_id}"),
        manager("POST", f"/client/{client_id}/secret"),
        manager("GET", f"/client/{client_id}/token"),
        manager("DELETE", f"/client/{client_id}/token"),
        manager("DELETE", f"/client/{client_id}/token/%00"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 6
    assert {answer.json()["detail"] for answer in answers} == {
        "There is no client of this id; GET /api/v1/client lists them."
    }


@pytest.fixture
def no_manager(service):
    """No client may manage clients for the time of the test, whatever its tokens may."""
    with service.store.write() as database:
        before = {client.id: client.scopes for client in list_clients(database)}
        database.execute(update(clients).values(scopes="connection:read"))
    yield
    with service.store.write() as database:
        for client_id, scopes in before.items():
            joined = " ".join(sorted(scopes))
            database.execute(update(clients).where(clients.c.id == client_id).values(scopes=joined))


def test_the_last_client_that_may_manage_clients_stays(manager, service, made, no_manager):
    one, two = [
        manager("POST", "/client", json={"name": name, "scopes": ["client:manage"]}).json()["client_id"]
        for name in ("one", "two")
    ]
    assert manager.delete(f"/client/{one}").status_code == 204
    answer = manager.delete(f"/client/{two}")
    assert (answer.status_code, "the last client" in answer.json()["detail"]) == (409, True)
    assert manager.delete(f"/client/{made['client_id']}").status_code == 204
    assert trail(service, two) == [("client_created", "201", {"name": "two", "scopes": "client:manage"})]
    with service.store.write() as database:
        delete_client(database, two)
