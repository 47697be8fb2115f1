"""What one caller may do in a time: tests, and failed logins."""

import base64

import pytest

from connectory.api.node.limits import TokenBuckets
from connectory.store.clients import create_client
from connectory.store.timestamps import utc_now


@pytest.fixture
def clock(monkeypatch):
    """The time of `connectory.api.node.limits`, moved by hand."""
    now = [1000.0]
    monkeypatch.setattr("connectory.api.node.limits.time.monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def test_a_bucket_gives_its_burst_and_then_its_rate(clock):
    buckets = TokenBuckets(rate=2, burst=3)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 1]
    clock(0.5)
    assert buckets.wait("a") == 0
    assert [buckets.take("a") for _ in range(2)] == [0, 1]
    clock(100)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 1]


def test_callers_have_buckets_of_their_own_and_only_so_many_are_remembered(clock, monkeypatch):
    monkeypatch.setattr("connectory.api.node.limits._MOST", 2)
    buckets = TokenBuckets(rate=0.1, burst=1)
    assert [buckets.take(caller) for caller in ("a", "b", "a", "b")] == [0, 0, 10, 10]
    assert buckets.take("c") == 0  # and a is forgotten
    assert [buckets.wait(caller) for caller in ("b", "a")] == [10, 0]


@pytest.fixture
def limited(service, monkeypatch):
    """The service with small limits; they are as before after the test."""

    def limit(**buckets: TokenBuckets) -> None:
        for name, value in buckets.items():
            before = getattr(service, name)
            request.append((name, before))
            object.__setattr__(service, name, value)

    request: list[tuple[str, TokenBuckets]] = []
    yield limit
    for name, before in request:
        object.__setattr__(service, name, before)


def test_a_client_that_tests_too_often_is_told_when_to_go_on_and_others_are_not(api, limited, token_for):
    limited(test_limit=TokenBuckets(rate=0.2, burst=2))
    api.create("a", "manual")
    answers = [api.get("/connection/a/test") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 5
    assert "CONNECTORY_TEST_RATE" in answers[2].json()["detail"]
    assert api.put("/connection/a/secret?verify=true", json={}).status_code == 429
    assert api.put("/connection/a/secret?verify=false", json={}).status_code == 200
    other = {"Authorization": f"Bearer {token_for()}"}
    assert api.get("/connection/a/test", headers=other).status_code == 200


@pytest.fixture
def logged(monkeypatch):
    """The lines that the token endpoint logs, as it hands them over."""
    lines: list[dict[str, object]] = []
    monkeypatch.setattr(
        "connectory.api.access.token_endpoint.log.warning",
        lambda event, **fields: lines.append({"event": event, **fields}),
    )
    return lines


def login(client, client_id, secret):
    basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}"}
    return client.post("/api/v1/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)


def test_guessing_a_secret_is_slowed_down_and_logged_and_harms_no_other_client(anonymous, service, limited, logged):
    limited(login_limit=TokenBuckets(rate=0.1, burst=3))
    with service.store.write() as database:
        one, one_secret = create_client(database, name="one", scopes=["connection:read"], now=utc_now())
        two, two_secret = create_client(database, name="two", scopes=["connection:read"], now=utc_now())
    answers = [login(anonymous, one.id, "SECRET-marker") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 10
    assert answers[3].json()["error"] == "temporarily_unavailable"
    assert login(anonymous, one.id, one_secret).status_code == 429  # or guessing would go on unseen
    assert login(anonymous, two.id, two_secret).status_code == 200
    assert logged == [{"event": "login failed", "client": one.id, "address": "testclient"}] * 3


def test_ids_that_nobody_has_share_one_bucket_for_each_address(anonymous, service, limited, logged):
    limited(login_limit=TokenBuckets(rate=0.1, burst=3))
    answers = [login(anonymous, f"nobody-{number}-marker", "x").status_code for number in range(5)]
    assert answers == [401, 401, 401, 429, 429]
    with service.store.write() as database:
        client, secret = create_client(database, name="one", scopes=["connection:read"], now=utc_now())
    assert login(anonymous, client.id, secret).status_code == 200
    assert logged == [{"event": "login failed", "client": None, "address": "testclient"}] * 3
