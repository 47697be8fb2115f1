"""Tests that hang: the rest of the service does not notice, and it ends when it is told to."""

import signal
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from testkit import hostile
from testkit.service import run_command, running_service

HANGING = 50


def median_seconds(client, path, count=40):
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        assert client.get(path).status_code == 200
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fifty_hanging_tests_slow_nothing_down(tmp_path, number):
    """Nor do they keep the service from ending."""
    home = tmp_path / "home"
    with hostile.silent() as server, running_service(home, {"CONNECTORY_PROBE_DEADLINE": "30"}) as service:
        headers = {"Authorization": f"Bearer {run_command(home, 'token').stdout.strip()}"}
        with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
            items = [
                {
                    "key": f"k{index}",
                    "connection_type": "postgres",
                    "access": "read",
                    "secrets": {"host": server.host, "port": server.port, "username": "u", "password": "p"},
                }
                for index in range(HANGING)
            ]
            assert client.patch("/api/v1/connection", json=items).json()["failed"] == []
            paths = ["/health", "/api/v1/connection_type", "/api/v1/connection?size=50", "/api/v1/connection/k0"]
            before = {path: median_seconds(client, path) for path in paths}

            def test(index):
                try:
                    return httpx.get(f"{service.url}/api/v1/connection/k{index}/test", headers=headers, timeout=60)
                except httpx.TransportError as error:
                    return error

            with ThreadPoolExecutor(HANGING) as pool:
                tests = [pool.submit(test, index) for index in range(HANGING)]
                wait_until(lambda: server.connections >= 16)  # the default concurrency; the others wait in the queue
                during = {path: median_seconds(client, path) for path in paths}
                assert not any(test.done() for test in tests)
                code, seconds = service.end(number)
                outcomes = [test.result() for test in tests]
    # Generous, because both share two cores with whatever else runs; a test in the way would cost seconds.
    assert all(during[path] < 10 * before[path] + 0.05 for path in paths), (before, during)
    assert code == 0
    assert seconds < 6
    assert all(isinstance(found, httpx.TransportError) or found.status_code == 503 for found in outcomes)
    assert '"request failed"' not in service.log.read_text()


@contextmanager
def hanging_test(tmp_path, **settings):
    """A service with a test that hangs, and what will be the answer to it."""
    home = tmp_path / "home"
    settings = {f"CONNECTORY_{name.upper()}": str(value) for name, value in settings.items()}
    with hostile.silent() as server, running_service(home, settings) as service, ThreadPoolExecutor(1) as pool:
        headers = {"Authorization": f"Bearer {run_command(home, 'token').stdout.strip()}"}
        item = {"key": "k", "connection_type": "postgres", "access": "read"}
        item["secrets"] = {"host": server.host, "port": server.port, "username": "u", "password": "p"}
        with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
            client.patch("/api/v1/connection", json=[item, {**item, "key": "later"}]).raise_for_status()
            answer = pool.submit(client.get, "/api/v1/connection/k/test")
            wait_until(lambda: server.connections >= 1)
            yield service, client, answer


def test_a_service_that_drains_says_so_and_lets_tests_finish(tmp_path):
    """It takes no new ones, answers everything else, and ends at once when it is told again."""
    with hanging_test(tmp_path, drain=120, probe_deadline=3) as (service, client, answer):
        assert client.get("/ready").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/ready").status_code == 503)
        assert client.get("/ready").json()["ready"] is False
        refused = client.get("/api/v1/connection/later/test")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert client.get("/api/v1/connection").json()["total"] == 2
        assert answer.result().json()["failure_code"] == "timeout"
        assert service.process.poll() is None
        code, seconds = service.end()
    assert code == 0
    assert seconds < 10


@pytest.mark.parametrize(("number", "drain"), [(signal.SIGTERM, 1), (signal.SIGINT, 120)])
def test_draining_ends_in_time_whatever_still_runs(tmp_path, number, drain):
    """And SIGINT, a person's Ctrl-C, does not drain."""
    with hanging_test(tmp_path, drain=drain, probe_deadline=30) as (service, _, answer):
        code, seconds = service.end(number)
        assert answer.exception() is not None or answer.result().status_code == 503
    assert code == 0
    assert (1 if number == signal.SIGTERM else 0) <= seconds < 10


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_a_test_that_the_caller_gives_up_is_ended(tmp_path):
    home = tmp_path / "home"
    with hostile.silent() as server, running_service(home, {"CONNECTORY_PROBE_DEADLINE": "30"}) as service:
        headers = {"Authorization": f"Bearer {run_command(home, 'token').stdout.strip()}"}
        item = {"key": "k", "connection_type": "postgres", "access": "read"}
        item["secrets"] = {"host": server.host, "port": server.port, "username": "u", "password": "p"}
        with httpx.Client(base_url=service.url, headers=headers) as client:
            client.patch("/api/v1/connection", json=[item])
            with pytest.raises(httpx.ReadTimeout):
                client.get("/api/v1/connection/k/test", timeout=2)

            def in_flight():
                return "connectory_tests_in_flight 0.0" not in client.get("/metrics").text

            wait_until(lambda: not in_flight(), seconds=10)
