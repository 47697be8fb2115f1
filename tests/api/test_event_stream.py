"""Tests that their caller follows: `Accept: text/event-stream`."""

import asyncio
import json
import time
from contextlib import contextmanager
from typing import Any

import pytest

from connectory.api.app import create_app, open_service
from connectory.api.testing import event_stream
from connectory.api.testing.event_stream import prefers_events
from connectory.checks.progress import Queued
from connectory.checks.runner import QueueFull
from testkit import hostile
from testkit.in_process import LocalClient

EVENTS = {"Accept": "text/event-stream"}
TEST = "/connection/db/test"
DRAFT = "/connection_type/postgres/test"


def parsed(text: str) -> list[tuple[str, Any]]:
    """The events of a whole answer: their names and data."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    pairs = [block.split("\n") for block in blocks]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


def of(name: str, events: list[tuple[str, Any]]) -> list[Any]:
    return [data for kind, data in events if kind == name]


class Followed:
    """One request that is under way: the test client would show its answer when it is whole."""

    def __init__(self, client: LocalClient, token: str, path: str, body: bytes = b"", method: str = "GET") -> None:
        self.text, self.arrivals = "", []
        self._left = asyncio.Event()
        self._body = [{"type": "http.request", "body": body, "more_body": False}]
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "text/event-stream",
            "content-type": "application/json",
        }
        scope = {"type": "http", "http_version": "1.1", "method": method, "path": f"/api/v1{path}", "query_string": b""}
        scope |= {"headers": [(name.encode(), value.encode()) for name, value in headers.items()], "client": None}
        scope |= {"scheme": "http", "server": ("testserver", 80), "root_path": "", "asgi": {"version": "3.0"}}
        self._portal = client.portal
        self._done = self._portal.start_task_soon(client.app, scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            return self._body.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        text = message.get("body", b"").decode()
        self.text += text
        self.arrivals += [(time.monotonic(), *event) for event in parsed(text)]

    def until(self, event: str, /, **data: Any) -> None:
        """Wait for an event that has this name, and these data."""
        give_up = time.monotonic() + 10
        while not any(data.items() <= found.items() for found in of(event, [told[1:] for told in self.arrivals])):
            assert time.monotonic() < give_up, self.text
            assert not self._done.done(), self.text
            time.sleep(0.002)

    def leave(self) -> None:
        self._portal.call(self._left.set)

    def end(self) -> list[tuple[str, Any]]:
        self._done.result(timeout=20)
        return [event[1:] for event in self.arrivals]


def secrets_for(server: Any, **changed: Any) -> dict[str, Any]:
    known = {"host": server.host, "port": server.port, "dbname": "postgres", "username": server.superuser}
    return known | {"password": server.password} | changed


def going_nowhere(server: Any) -> dict[str, Any]:
    return {"host": server.host, "port": server.port, "username": "u", "password": "p"}


def test_each_step_is_told_and_the_verdict_is_the_json_answer(api, postgres, service):
    api.create("db", "postgres", secrets=secrets_for(postgres))
    for method in ("GET", "POST"):
        answer = api(method, TEST, headers=EVENTS)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        events = parsed(answer.text)
        assert events[0] == ("started", {"deadline_ms": service.settings.probe_deadline * 1000})
        name, verdict = events[-1]
        assert (name, verdict["test_status"]) == ("verdict", "succeeded")
        steps = of("step", events)
        assert [step for step in steps if step["status"] != "running"] == verdict["steps"]
        running = [step["name"] for step in steps if step["status"] == "running"]
        assert running == ["resolve", "connect", "tls", "authenticate", "query"]
    plain = api.get(TEST)
    assert plain.headers["content-type"] == "application/json"
    assert plain.json().keys() == verdict.keys()
    assert api.get("/connection/db").json()["last_test_succeeded"] is True


def test_a_failed_draft_is_told_step_by_step(api, postgres):
    draft = {"secrets": secrets_for(postgres, password="wrong")}
    events = parsed(api("POST", DRAFT, json=draft, headers=EVENTS).text)
    assert of("step", events)[-2] == {"name": "authenticate", "status": "running"}
    assert of("step", events)[-1]["status"] == "failed"
    [verdict] = of("verdict", events)
    assert (verdict["failure_code"], verdict["failure_fields"]) == ("auth_failed", ["username", "password"])


@contextmanager
def impatient(settings, catalog, token):
    """A service whose tests have a second, ready to run one."""
    quick = settings.model_copy(update={"probe_deadline": 1})
    with LocalClient(create_app(open_service(quick, catalog))) as client:
        refused = {"secrets": {"host": "127.0.0.1", "port": 1}}
        headers = {"Authorization": f"Bearer {token}"}
        # Its fork servers may not be ready for a while.
        answers = (client.post(f"/api/v1{DRAFT}", json=refused, headers=headers).text for _ in range(60))
        assert any("connect_refused" in answer for answer in answers)
        yield client


def test_steps_come_while_the_far_end_is_silent_and_who_comes_later_joins(api, settings, catalog, token):
    with hostile.silent() as server, impatient(settings, catalog, token) as client:
        there = type(api)(client, token)
        there.create("db", "postgres", secrets=going_nowhere(server))
        first = Followed(client, token, TEST)
        first.until("step", name="tls", status="running")
        second = Followed(client, token, TEST)
        second.until("step", name="tls", status="running")
        assert not of("verdict", [event[1:] for event in first.arrivals])
        whole, late = first.end(), second.end()
        started, ended = (next(at for at, name, _ in first.arrivals if name == kind) for kind in ("started", "verdict"))
        assert ended - started < 2
        assert server.connections == 1
    assert [event for event in late if event[0] != "started"] == [event for event in whole if event[0] != "started"]
    assert of("started", whole) == [{"deadline_ms": 1000}]
    assert 0 < of("started", late)[0]["deadline_ms"] < 1000
    assert whole[-1][0] == "verdict"
    assert whole[-1][1]["failure_code"] == "timeout"
    assert whole[-2][1]["status"] == "failed"


def test_who_leaves_ends_the_test_and_the_audit_trail_tells_of_a_draft(api, anonymous, token, service):
    with hostile.silent() as server:
        body = json.dumps({"secrets": going_nowhere(server)}).encode()
        draft = Followed(anonymous, token, DRAFT, body, "POST")
        draft.until("step", name="connect", status="passed")
        draft.leave()
        assert of("verdict", draft.end()) == []
    [entry] = api.get("/audit?action=draft_tested&size=1").json()["items"]
    assert entry["result_code"] == "499"
    patience = time.monotonic() + 10
    while service.runner.in_flight:  # its turn lasts until its process is gone
        assert time.monotonic() < patience
        time.sleep(0.01)


def test_a_test_that_runs_nothing_has_only_a_verdict(api):
    api.create("db", "postgres")
    [(name, verdict)] = parsed(api.get(TEST, headers=EVENTS).text)
    assert (name, verdict) == ("verdict", api.get(TEST).json())


def test_a_head_request_still_tests_nothing(api):
    api.create("db", "api_ledger", secrets={"token": "right"})
    api("HEAD", TEST, headers=EVENTS)
    assert api.get("/connection/db").json()["last_test_timestamp"] is None


def test_what_is_refused_before_the_test_begins_is_plain_json(api, service, monkeypatch):
    async def full(*_):
        raise QueueFull(7)

    monkeypatch.setattr(service.runner, "run", full)
    api.create("db", "api_ledger", secrets={"token": "right"})
    answer = api.get(TEST, headers=EVENTS)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert "detail" in answer.json()
    assert api.get("/connection/nobody/test", headers=EVENTS).json()["detail"].startswith("No connection")
    invalid = api("POST", "/connection_type/api_ledger/test", json={"secrets": {}}, headers=EVENTS)
    assert (invalid.status_code, invalid.json()["detail"][0]["loc"]) == (422, ["token"])


def test_who_waits_too_long_is_told_by_an_event(api, service, monkeypatch):
    async def waits(*given):
        for position in (2, 1):
            given[-1](Queued(position))
        raise QueueFull(7)

    monkeypatch.setattr(service.runner, "run", waits)
    api.create("db", "api_ledger", secrets={"token": "right"})
    *queued, (name, refusal) = parsed(api.get(TEST, headers=EVENTS).text)
    assert queued == [("queued", {"position": 2}), ("queued", {"position": 1})]
    assert (name, refusal["status"], refusal["retry_after"]) == ("refused", 429, 7)
    assert refusal["detail"].startswith("Too many connection tests wait")


def test_silence_is_filled_with_comments(api, anonymous, token, monkeypatch):
    monkeypatch.setattr(event_stream, "PING", 0.02)
    with hostile.silent() as server:
        api.create("db", "postgres", secrets=going_nowhere(server))
        followed = Followed(anonymous, token, TEST)
        followed.until("started")
        give_up = time.monotonic() + 5
        while followed.text.count(": ping\n\n") < 3:
            assert time.monotonic() < give_up
            time.sleep(0.005)
        followed.leave()
        followed.end()


@pytest.mark.parametrize(
    ("accept", "events"),
    [
        ("text/event-stream", True),
        ("text/event-stream, */*", True),
        ("text/event-stream, application/json", True),
        ("application/json;q=0.5, Text/Event-Stream", True),
        ("application/json, text/event-stream", False),
        ("text/event-stream;q=0.5, application/json", False),
        ("text/event-stream;q=0.1, */*", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=often", False),
        ("text/*", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_events_are_for_who_asks_for_them_first(accept, events):
    assert prefers_events([accept]) is events
