"""Tokens, scopes, and the proof that every route needs one."""

import base64
from datetime import timedelta
from urllib.parse import quote_plus

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from connectory.api.node import token_cache
from connectory.scopes import SCOPES
from connectory.store.audit_search import Wanted, list_entries
from connectory.store.clients import create_client, delete_client, issue_token
from connectory.store.timestamps import utc_now

# The callback is admitted by its state, as `api.consents.consent_answers` explains and `test_consents` proves.
PUBLIC = {
    "/health",
    "/ready",
    "/docs",
    "/docs/{part}",
    "/openapi.json",
    "/api/v1/oauth/token",
    "/api/v1/oauth/revoke",
    "/api/v1/oauth/introspect",
    "/api/v1/oauth/callback",
}
PARAMETERS = {
    "connection_key": "nobody",
    "connection_type": "nothing",
    "fides_key": "none",
    "client_id": "no",
    "token_id": "no",
    "discovery_id": "no",
}


@pytest.fixture
def credentials(service):
    with service.store.write() as database:
        client, secret = create_client(
            database, name="reader", scopes=["connection:read", "connection_type:read"], now=utc_now()
        )
    return client.id, secret


def ask(anonymous, **form):
    return anonymous.post("/api/v1/oauth/token", data=form)


def test_client_credentials_as_a_form(anonymous, credentials):
    client_id, secret = credentials
    answer = ask(anonymous, grant_type="client_credentials", client_id=client_id, client_secret=secret)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert list(body) == ["access_token", "token_type", "expires_in", "scope"]
    assert (body["token_type"], body["expires_in"]) == ("bearer", 43200)
    assert body["scope"] == "connection:read connection_type:read"
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    assert anonymous.get("/api/v1/connection", headers=headers).status_code == 200


def test_client_credentials_as_http_basic(anonymous, credentials):
    pair = ":".join(map(quote_plus, credentials))
    headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    answer = anonymous.post("/api/v1/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
    assert answer.status_code == 200


def test_scope_narrows_the_token(anonymous, credentials):
    client_id, secret = credentials
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    body = ask(anonymous, **form, scope="connection_type:read").json()
    assert body["scope"] == "connection_type:read"
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    assert anonymous.get("/api/v1/connection_type", headers=headers).status_code == 200
    refused = anonymous.get("/api/v1/connection", headers=headers)
    assert refused.status_code == 403
    assert refused.json() == {"detail": "The token lacks the scope connection:read."}


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"client_secret": "S3cretPw"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"scope": "connection:delete"}, 400, "invalid_scope"),
        ({"scope": "S3cretPw"}, 400, "invalid_scope"),
    ],
)
def test_errors_are_those_of_rfc_6749(anonymous, credentials, changed, status, error):
    client_id, secret = credentials
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret} | changed
    answer = ask(anonymous, **form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert "S3cretPw" not in answer.text


def test_a_body_that_is_no_form_is_an_invalid_request(anonymous):
    for body, content_type in ((b"{}", "application/json"), (b"\xff=\xff", "application/x-www-form-urlencoded")):
        answer = anonymous.post("/api/v1/oauth/token", content=body, headers={"Content-Type": content_type})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def revoke(anonymous, credentials, **form):
    client_id, secret = credentials
    return anonymous.post("/api/v1/oauth/revoke", data={"client_id": client_id, "client_secret": secret} | form)


def issued(anonymous, credentials):
    client_id, secret = credentials
    answer = ask(anonymous, grant_type="client_credentials", client_id=client_id, client_secret=secret)
    return answer.json()["access_token"]


def test_a_client_revokes_one_of_its_tokens_and_keeps_the_others(anonymous, credentials, service):
    stolen, kept = issued(anonymous, credentials), issued(anonymous, credentials)

    def status(token):
        return anonymous.get("/api/v1/connection", headers={"Authorization": f"Bearer {token}"}).status_code

    assert (status(stolen), status(kept)) == (200, 200)
    for _ in range(2):  # what is not known is as good as revoked (RFC 7009 §2.2)
        answer = revoke(anonymous, credentials, token=stolen, token_type_hint="access_token")
        assert (answer.status_code, answer.json(), answer.headers["cache-control"]) == (200, {}, "no-store")
        assert (status(stolen), status(kept)) == (401, 200)
    with service.store.read() as database:
        [entry] = list_entries(database, Wanted(actor=credentials[0], actions=["tokens_revoked"]))[0]
    assert (entry.object, entry.result_code, entry.details) == (credentials[0], "200", {"times": 1})
    assert stolen not in repr(entry)


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_secret": "S3cretPw"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"token": ""}, 400, "invalid_request"),
        ({"token": ["S3cretPw", "S3cretPw"]}, 400, "invalid_request"),
    ],
)
def test_a_revocation_that_is_not_in_order_revokes_nothing(anonymous, credentials, changed, status, error):
    token = issued(anonymous, credentials)
    answer = revoke(anonymous, credentials, **{"token": token} | changed)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert "S3cretPw" not in answer.text
    assert anonymous.get("/api/v1/connection", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_nobody_revokes_the_token_of_another_client(anonymous, credentials, token_for):
    token = token_for("connection:read")
    answer = revoke(anonymous, credentials, token=token)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert token not in answer.text
    assert anonymous.get("/api/v1/connection", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def routes(anonymous):
    return list(iter_route_contexts(anonymous.app.routes))


def api_routes(anonymous):
    return [route for route in routes(anonymous) if isinstance(route.original_route, APIRoute)]


def scopes(anonymous, route, method):
    """The scopes that the OpenAPI document names for an operation."""
    operation = anonymous.app.openapi()["paths"][route.path][method.lower()]
    return [scope for needed in operation.get("security", []) for scope in needed["client_credentials"]]


def test_every_route_but_the_named_ones_needs_a_scope(anonymous, token_for):
    """Walks the route table, with no token, a wrong one, one without the scope, and one with nothing but the scope."""
    paths = {route.path for route in routes(anonymous)}
    assert paths >= PUBLIC
    for route in api_routes(anonymous):
        path = route.path.format(**PARAMETERS)
        for method in route.methods - {"HEAD"}:
            if route.path in PUBLIC:
                continue
            bare = anonymous.request(method, path)
            assert bare.status_code == 401, (method, path)
            assert bare.headers["www-authenticate"] == 'Bearer realm="connectory"'
            wrong = anonymous.request(method, path, headers={"Authorization": "Bearer nonsense"})
            assert wrong.status_code == 401
            assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
            needed = scopes(anonymous, route, method)
            assert needed, (method, path)
            for scope in needed:
                others = token_for(*(SCOPES.keys() - {scope}))
                refused = anonymous.request(method, path, headers={"Authorization": f"Bearer {others}"})
                assert (refused.status_code, scope in refused.json()["detail"]) == (403, True), (method, path)
            just = anonymous.request(method, path, headers={"Authorization": f"Bearer {token_for(*needed)}"})
            assert just.status_code not in {401, 403, 500}, (method, path)


def test_every_other_route_of_the_table_is_a_named_public_one(anonymous):
    assert {route.path for route in routes(anonymous)} - {route.path for route in api_routes(anonymous)} == {
        "/docs",
        "/docs/{part}",
        "/openapi.json",
    }
    assert {
        route.path
        for route in api_routes(anonymous)
        for method in route.methods
        if not scopes(anonymous, route, method)
    } == {
        "/health",
        "/ready",
        "/api/v1/oauth/token",
        "/api/v1/oauth/revoke",
        "/api/v1/oauth/introspect",
        "/api/v1/oauth/callback",
    }


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Basic abc", "bearer a b", "Bearer \x7f", "Bearer " + "a" * 5000, "Bearer é"],
)
def test_a_header_that_is_no_bearer_token_is_a_401(anonymous, header):
    answer = anonymous.get("/api/v1/connection", headers={"Authorization": header.encode()})
    assert answer.status_code == 401


def test_the_token_is_looked_at_before_the_body_and_before_the_path(anonymous):
    for method, path in (("PATCH", "/api/v1/connection"), ("PUT", "/api/v1/connection/nobody/secret")):
        answer = anonymous.request(method, path, content=b"nonsense", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 401


def test_a_revoked_token_stops_working_once_it_is_looked_up_again(anonymous, service, credentials, monkeypatch):
    client_id, _ = credentials
    with service.store.write() as database:
        text, _ = issue_token(
            database, client_id, scopes=["connection:read"], lifetime=timedelta(hours=1), now=utc_now()
        )
    headers = {"Authorization": f"Bearer {text}"}
    assert anonymous.get("/api/v1/connection", headers=headers).status_code == 200
    with service.store.write() as database:
        delete_client(database, client_id)
    clock = token_cache.time.monotonic
    monkeypatch.setattr(token_cache.time, "monotonic", lambda: clock() + token_cache.LIFETIME)
    assert anonymous.get("/api/v1/connection", headers=headers).status_code == 401


def test_an_expired_token_does_not_work_even_if_it_was_seen_a_moment_ago(anonymous, service, credentials, monkeypatch):
    with service.store.write() as database:
        text, _ = issue_token(
            database, credentials[0], scopes=["connection:read"], lifetime=timedelta(seconds=60), now=utc_now()
        )
    headers = {"Authorization": f"Bearer {text}"}
    assert anonymous.get("/api/v1/connection", headers=headers).status_code == 200
    clock = token_cache.time.time
    monkeypatch.setattr(token_cache.time, "time", lambda: clock() + 61)
    assert service.tokens.get(text) is None


def test_whoever_has_a_token_can_revoke_it(api, anonymous, token_for):
    """With the token itself in the header: a person who signs out knows no client's secret."""
    token, other = token_for("connection:read"), token_for("connection:read")
    headers = {"Authorization": f"Bearer {token}"}
    revoke = "/api/v1/oauth/revoke"
    assert anonymous.post(revoke, data={"token": other}, headers=headers).status_code == 401
    assert anonymous.post(revoke, data={"token": token}, headers=headers).json() == {}
    assert anonymous.get("/api/v1/connection", headers=headers).status_code == 401
    assert anonymous.post(revoke, data={"token": token}, headers=headers).json() == {}  # it is revoked already
    assert anonymous.get("/api/v1/connection", headers={"Authorization": f"Bearer {other}"}).status_code == 200
