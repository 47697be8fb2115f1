"""A page whose own name was pointed at this machine (DNS rebinding) reaches nothing."""

import pytest
from fastapi.testclient import TestClient

from connectory.api.http.hosts import names_of
from connectory.settings import Settings


def health(anonymous, host):
    return anonymous.get("/health", headers={"Host": host})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "localhost.",
        "127.0.0.1",
        "192.0.2.7:8000",
        "[2001:db8::1]:8000",
        "connectory.example",
    ],
)
def test_addresses_and_names_of_the_service_are_answered(anonymous, host):
    assert health(anonymous, host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "connectory.example.evil.example",
        "127.0.0.1.evil.example",
        "evil.localhost",
        "evil.example@127.0.0.1",
        "127.0.0.1/evil",
        "2130706433",
        "[evil.example]",
        "",
        "\xe9",
    ],
)
def test_another_name_is_refused_and_not_repeated(anonymous, token, host):
    headers = {"Host": host.encode("latin-1"), "Authorization": f"Bearer {token}"}
    for path in ("/health", "/api/v1/connection", "/docs"):
        answer = anonymous.get(path, headers=headers)
        assert (answer.status_code, list(answer.json())) == (421, ["detail"])
        assert "CONNECTORY_ALLOWED_HOSTS" in answer.json()["detail"]
        assert "evil" not in answer.text
        assert answer.headers["x-request-id"]


def test_a_request_without_a_host_passes(anonymous):
    """As HTTP/1.0 has it; no browser sends one."""

    async def without_host(scope, receive, send):
        headers = [(name, value) for name, value in scope.get("headers", ()) if name != b"host"]
        await anonymous.app({**scope, "headers": headers}, receive, send)

    assert TestClient(without_host).get("/health").status_code == 200


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, {"localhost", "127.0.0.1"}),
        ({"host": "box", "public_url": "https://a.example:8443"}, {"localhost", "box", "a.example"}),
        ({"host": "0.0.0.0", "allowed_hosts": "B.example.,c"}, {"localhost", "0.0.0.0", "b.example", "c"}),
        ({"host": "0.0.0.0"}, None),
    ],
)
def test_the_names_are_those_of_the_settings(given, names):
    """Where others reach the service and no name is set, every name is answered."""
    assert names_of(Settings(**given)) == names
