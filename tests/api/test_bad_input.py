"""What breaks a default service: RELIABILITY.md §4 and SECURITY.md §7. Never a 500, and nothing submitted comes back."""

import json
import re

import pytest

SECRET = "S3cretPw"
BODIES = {
    "NaN": b'{"token": NaN}',
    "Infinity": b'{"token": Infinity}',
    "too large a number": b'{"token": 1e400}',
    "a lone surrogate": b'{"token": "\\ud800"}',
    "an integer of 5000 digits": b'{"token": ' + b"1" * 5000 + b"}",
    "nested 200,000 deep": b'{"token": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "nested 100 deep": b'{"token": ' + b"[" * 100 + b"]" * 100 + b"}",
    "UTF-16": '{"token": "x"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "invalid UTF-8": b'{"token": "\xff\xfe"}',
    "an encoded surrogate": b'{"token": "\xed\xa0\x80"}',
    "nothing": b"",
    "half a document": b'{"token": "' + SECRET.encode(),
    "an array": json.dumps([SECRET]).encode(),
    "a string": json.dumps(SECRET).encode(),
    "null": b"null",
    "a number": b"7",
    "a boolean": b"true",
    "a NUL in a value": b'{"token": "' + SECRET.encode() + b'\\u0000"}',
    "a NUL in a name": b'{"to\\u0000ken": "x"}',
}
ROUTES = [
    ("PUT", "/connection/books/secret"),
    ("PATCH", "/connection/books/secret"),
    ("PATCH", "/connection"),
    ("PATCH", "/connection/books/dataset"),
]


def assert_refused(answer, *statuses):
    assert answer.status_code in statuses, answer.text
    assert SECRET not in answer.text
    detail = answer.json()["detail"]
    if answer.status_code == 422:
        assert all(set(problem) == {"loc", "msg", "type"} for problem in detail)


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_cannot_be_is_a_422(api, method, path, body):
    api.create("books")
    assert_refused(api.raw(method, path, body), 422)


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "", "application/jsonx"])
def test_a_body_that_is_not_declared_json_is_a_415(api, method, path, content_type):
    api.create("books")
    assert_refused(api.raw(method, path, f"password={SECRET}".encode(), content_type), 415)


@pytest.mark.parametrize(
    "body",
    [
        {"host": "h", "password": SECRET},  # E01: the user name is missing where both are needed
        {"host": "h", "passwrod": SECRET},  # E02
        {SECRET: "x"},  # E07
        {"host": SECRET + " ", "password": SECRET},
        {"host": "h", "port": SECRET},
        {"host": "h", "port": 9223372036854775808},  # E11
        {"host": "h", "port": -1},
        {"host": "h", "port": 1.5},
        {"host": "h", "password": {SECRET: SECRET}},
        {"host": "h", "password": [SECRET]},
        {"url": f"postgresql://u:{SECRET}@h h/d"},
        {"url": SECRET},
        {"host": "h", "ssl_mode": SECRET},
        {"host": "h", "ssl_ca": SECRET},
    ],
)
def test_secrets_that_do_not_fit_are_not_repeated(api, body):
    for identifier in ("postgres", "api_ledger"):
        api.create(f"c_{identifier}", identifier)
    assert_refused(api.put("/connection/c_api_ledger/secret?verify=false", json=body), 422)
    answer = api.put("/connection/c_postgres/secret?verify=false", json=body)
    assert answer.status_code in {200, 422}
    assert SECRET not in answer.text
    item = {"name": "n", "connection_type": "api_ledger", "access": "read", "secrets": body}
    assert_refused(api.patch("/connection", json=[item]), 422)


def test_a_key_file_that_is_no_json_is_not_repeated(api):
    api.create("big", "bigquery")
    body = {"dataset": "some-dataset", "keyfile_creds": '{"private_key":"' + SECRET + '",}'}
    assert_refused(api.put("/connection/big/secret?verify=false", json=body), 422)
    body = {"dataset": "some-dataset", "keyfile_creds": "[" * 200_000}  # B07
    assert_refused(api.put("/connection/big/secret?verify=false", json=body), 422)


@pytest.mark.parametrize(
    "item",
    [
        {"name": SECRET, "connection_type": SECRET, "access": "read"},
        {"name": SECRET, "connection_type": "api_ledger", "access": SECRET},
        {"name": "n", "connection_type": "api_ledger", "access": "read", "disabled": SECRET},
        {"name": {"x": SECRET}, "connection_type": "api_ledger", "access": "read"},
        {"name": "n", "connection_type": "api_ledger", "access": "read", "secrets": SECRET},
        {"name": "n", "connection_type": "api_ledger", "access": "read", "secrets": {"tokn": SECRET}},
        {"name": "n", "connection_type": "api_ledger", "access": "read", "key": f"{SECRET}\n"},
        {"name": "n", "connection_type": "api_ledger", "access": "read", "description": f"{SECRET}\x00"},
    ],
)
def test_items_that_do_not_fit_are_not_repeated(api, item):
    assert_refused(api.patch("/connection", json=[item]), 422)


@pytest.mark.parametrize(
    "query",
    [
        "page=100000000000000000000",
        "page=-1",
        "page=1e400",
        "page=NaN",
        f"page={SECRET}",
        f"size={SECRET}",
        f"disabled={SECRET}",
        f"test_status={SECRET}",
        f"system_type={SECRET}",
    ],
)
def test_queries_that_cannot_be_are_a_422(api, query):
    assert_refused(api.get(f"/connection?{query}"), 422)
    api.create("books")
    if query.startswith(("page", "size")):
        assert_refused(api.get(f"/connection_type?{query}"), 422)
        assert_refused(api.get(f"/connection/books/dataset?{query}"), 422)


@pytest.mark.parametrize("search", ["%00", "%ff", "%ED%A0%80", "'%20OR%201=1", '"', "*", "%F0%9F%92%A9"])
def test_any_text_can_be_searched_for(api, search):
    api.create("books")
    answer = api.get(f"/connection?search={search}")
    assert (answer.status_code, answer.json()["total"]) == (200, 0)
    assert api.get(f"/connection?connection_type={search}").json()["total"] == 0
    assert api.get(f"/connection_type?search={search}").status_code == 200


def test_a_name_given_twice_in_a_json_object_counts_once_and_is_validated(api):
    api.create("books")
    answer = api.raw("PUT", "/connection/books/secret?verify=false", b'{"token": 5, "token": "last-one"}')
    assert answer.status_code == 200
    answer = api.raw("PUT", "/connection/books/secret?verify=false", b'{"token": "first", "token": 5}')
    assert_refused(answer, 422)


def test_a_large_body_is_refused_before_it_is_read(api, service):
    limit = service.settings.max_body_bytes
    assert_refused(api.raw("PATCH", "/connection", b" " * (limit + 1)), 413)
    assert_refused(api.raw("PATCH", "/connection", b" " * limit), 422)


def test_a_large_body_in_chunks_is_refused_while_it_arrives(api):
    sent = 0

    def chunks():
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 65536

    answer = api("PATCH", "/connection", content=chunks(), headers={"Content-Type": "application/json"})
    assert_refused(answer, 413)


def test_a_hundred_thousand_names_are_a_422(api):
    api.create("books")
    body = {f"k{number}": 0 for number in range(60_000)}
    answer = api.put("/connection/books/secret", json=body)
    assert answer.status_code == 422
    assert len(answer.content) < 10_000


def test_a_method_that_the_path_does_not_take_is_a_405_that_lists_all_it_takes(api):
    for method, path, allowed in (
        ("PUT", "/connection", "GET, HEAD, OPTIONS, PATCH"),
        ("POST", "/connection/books", "DELETE, GET, HEAD, OPTIONS"),
        ("DELETE", "/connection/books/secret", "OPTIONS, PATCH, PUT"),
        ("PUT", "/connection/books/test", "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/connection/books/dataset", "GET, HEAD, OPTIONS, PATCH"),
    ):
        answer = api(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        options = api("OPTIONS", path)
        assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b"")


def test_head_is_get_without_the_body(api):
    answer = api("HEAD", "/connection")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == api.get("/connection").headers["content-length"]


def test_head_on_a_test_runs_none(api, service):
    api.create("books", secrets={"token": "tiger-lily"})
    before = sum(service.test_counts.values())
    answer = api("HEAD", "/connection/books/test")
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
    assert sum(service.test_counts.values()) == before
    assert api.get("/connection/books").json()["last_test_timestamp"] is None
    assert api("HEAD", "/connection/nobody/test").status_code == 404


def test_an_unknown_path_is_a_404_that_does_not_repeat_it(api):
    answer = api.get(f"/{SECRET}")
    assert answer.status_code == 404
    assert SECRET not in answer.text


def test_an_unexpected_exception_is_a_500_with_a_request_id_and_nothing_else(api, service, monkeypatch):
    def explode(*_, **__):
        raise RuntimeError(SECRET)

    monkeypatch.setattr("connectory.api.connections.connections.list_connections", explode)
    answer = api.get("/connection", headers={"X-Request-Id": "look-here"})
    assert answer.status_code == 500
    request_id = answer.headers["x-request-id"]
    assert answer.json() == {"detail": f"The service failed; its log says more under the request id {request_id}."}


def test_the_service_makes_the_id_of_each_request_and_keeps_the_callers_beside_it(api, monkeypatch):
    logged = []
    monkeypatch.setattr(
        "connectory.api.http.middleware.log.log", lambda _level, _event, **fields: logged.append(fields)
    )
    sent = ["mine", "mine", f"{SECRET} {SECRET}", "x" * 65, ""]
    ids = [api.get("/connection", headers={"X-Request-Id": one}).headers["x-request-id"] for one in sent]
    assert len(set(ids)) == len(sent)
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
    assert [(line["request_id"], line.get("client_request_id")) for line in logged] == list(
        zip(ids, ["mine", "mine", None, None, None], strict=True)
    )
