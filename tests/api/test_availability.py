"""Tests that hang: the rest of the service does not notice, and it ends when it is told to."""

import json
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from testkit import hostile
from testkit.service import run_command, running_service
from testkit.waiting import wait_until

HANGING = 200


def median_seconds(client, path, count=40):
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        assert client.get(path).status_code == 200
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def token_of(home, *arguments):
    return {"Authorization": f"Bearer {run_command(home, 'token', *arguments).stdout.strip()}"}


def connection(key, **secrets):
    item = {"key": key, "connection_type": "postgres", "access": "read"}
    return item | {"secrets": {"username": "u", "password": "p", **secrets}}


def test_one_client_with_200_hanging_tests_slows_nothing_down(tmp_path, postgres):
    """Neither the other requests, nor the tests of another client; nor do they keep the service from ending."""
    home = tmp_path / "home"
    settings = {
        "CONNECTORY_PROBE_DEADLINE": "30",
        "CONNECTORY_PROBE_QUEUE_WAIT": "15",
        "CONNECTORY_TEST_BURST": str(HANGING),  # so that nothing but its share holds the client back
    }
    with hostile.silent() as server, running_service(home, settings) as service:
        other_id = json.loads(run_command(home, "client", "create", "other").stdout)["client_id"]
        ours, theirs = token_of(home), token_of(home, "--client", other_id)
        healthy = connection("healthy", host=postgres.host, port=postgres.port, dbname="postgres")
        healthy["secrets"] |= {"username": postgres.superuser, "password": postgres.password}
        silent = [connection(f"k{index}", host=server.host, port=server.port) for index in range(HANGING)]
        limits = httpx.Limits(max_connections=None)
        with httpx.Client(base_url=service.url, headers=ours, timeout=60, limits=limits) as client:
            for start in range(0, HANGING, 50):
                assert client.patch("/api/v1/connection", json=silent[start : start + 50]).json()["failed"] == []
            assert client.patch("/api/v1/connection", json=[healthy]).json()["failed"] == []
            assert seconds_of_a_test(service.url, theirs, "healthy") < 20  # has the connector and its driver imported
            paths = ["/health", "/api/v1/connection_type", "/api/v1/connection?size=50", "/api/v1/connection/k0"]
            before = {path: median_seconds(client, path) for path in paths}

            def test(index):
                try:
                    return client.get(f"/api/v1/connection/k{index}/test")
                except httpx.TransportError as error:
                    return error

            with ThreadPoolExecutor(HANGING) as pool:
                tests = [pool.submit(test, index) for index in range(HANGING)]
                # By default 16 run at once and 64 wait: of one client 12, and 32.
                wait_until(lambda: server.connections >= 12 and sum(test.done() for test in tests) >= HANGING - 44)
                other_tests = [seconds_of_a_test(service.url, theirs, "healthy") for _ in range(5)]
                during = {path: median_seconds(client, path) for path in paths}
                refused = [test.result() for test in tests if test.done()]
                assert server.connections == 12
                code, seconds = service.end()
                outcomes = [test.result() for test in tests]
    # All generous, because this shares two cores with whatever else runs; a test in the way would cost 15 to 30 seconds.
    assert (statistics.median(other_tests) < 1, max(other_tests) < 5) == (True, True), other_tests
    assert all(during[path] < 10 * before[path] + 0.05 for path in paths), (before, during)
    assert len(refused) >= HANGING - 44
    assert {(answer.status_code, int(answer.headers["retry-after"]) > 0) for answer in refused} == {(429, True)}
    assert code == 0
    assert seconds < 6
    assert all(isinstance(found, httpx.TransportError) or found.status_code in (429, 503) for found in outcomes)
    assert '"request failed"' not in service.log.read_text()


def seconds_of_a_test(url, headers, key):
    started = time.perf_counter()
    answer = httpx.get(f"{url}/api/v1/connection/{key}/test", headers=headers, timeout=60)
    assert answer.json()["test_status"] == "succeeded"
    return time.perf_counter() - started


@contextmanager
def hanging_test(tmp_path, **settings):
    """A service with a test that hangs, and what will be the answer to it."""
    home = tmp_path / "home"
    settings = {f"CONNECTORY_{name.upper()}": str(value) for name, value in settings.items()}
    with hostile.silent() as server, running_service(home, settings) as service, ThreadPoolExecutor(1) as pool:
        item = connection("k", host=server.host, port=server.port)
        with httpx.Client(base_url=service.url, headers=token_of(home), timeout=60) as client:
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
        assert client.get("/ready").json() == {"status": "not_ready", "failing": ["prober"]}
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


def test_a_test_that_the_caller_gives_up_is_ended(tmp_path):
    with hanging_test(tmp_path, probe_deadline=30) as (service, client, first):
        with pytest.raises(httpx.ReadTimeout):
            client.get("/api/v1/connection/later/test", timeout=2)

        def in_flight(count):
            return f"connectory_tests_in_flight {count}.0" in client.get("/metrics").text

        wait_until(lambda: in_flight(1), seconds=10)
        assert not first.done()
        service.end()
        assert first.exception() is not None or first.result().status_code == 503
