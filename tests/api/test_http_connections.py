"""Connections of clients that say nothing, or little, or do not listen: each ends, and the service goes on."""

import re
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from testkit import hostile
from testkit.service import run_command, running_service

TIMEOUT = 1
"""Seconds; the service looks once a second."""

HEAD = b"POST /api/v1/oauth/token HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that may have 256 files open, and waits a second for a request."""
    settings = {"CONNECTORY_REQUEST_TIMEOUT": str(TIMEOUT), "CONNECTORY_PROBE_DEADLINE": "3"}
    home = tmp_path_factory.mktemp("service") / "home"
    few = ["sh", "-c", 'ulimit -n 256 && exec "$@"', "sh"]
    with running_service(home, settings, launcher=few) as running:
        running.home = home
        yield running


@pytest.fixture
def dial(service):
    """Connect to the service."""
    url, made = urlsplit(service.url), []

    def dial():
        made.append(socket.create_connection((url.hostname, url.port), timeout=20))
        return made[-1]

    yield dial
    for connection in made:
        connection.close()


def received(connection):
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_300_connections_that_say_nothing_do_not_keep_others_out(service, dial):
    """They take what there is until they are ended; what there is not room for is closed at once."""
    began = time.monotonic()
    idle = [dial() for _ in range(300)]
    deadline = time.monotonic() + 20
    while True:
        try:
            assert httpx.get(f"{service.url}/health").json() == {"status": "healthy"}
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
    assert time.monotonic() - began > TIMEOUT
    assert [received(connection) for connection in idle] == [b""] * 300
    assert re.search(
        r'"taken": ?128', service.log.read_text()
    )  # 256, without those for the service itself and its tests


def test_a_connection_outlives_head(service):
    """Load balancers look that way, again and again by one connection."""
    with httpx.Client(base_url=service.url) as client:
        head, again = client.head("/health"), client.get("/health")
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(again.content)))


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (HEAD, b"x"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["headers", "body", "chunks"],
)
def test_a_request_that_drips_is_ended(service, dial, start, drop):
    """Which is not an error of the service."""
    connection = dial()
    connection.sendall(start)
    began = time.monotonic()
    stop = threading.Event()

    def drip():
        while not stop.wait(0.1):
            try:
                connection.sendall(drop)
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    answer = received(connection)
    stop.set()
    thread.join()
    assert time.monotonic() - began < 15
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"CONNECTORY_REQUEST_TIMEOUT" in answer
    assert '"request failed"' not in service.log.read_text()


def test_line_breaks_do_not_keep_a_connection_alive(dial):
    """Before a request they are skipped, so none begins."""
    connection = dial()
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    connection.settimeout(0.1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            connection.sendall(b"\r\n")
            if not connection.recv(65536):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    assert time.monotonic() < deadline


def test_a_request_that_has_arrived_may_take_longer_and_so_may_a_client_between_two(service):
    idle = HTTPConnection(urlsplit(service.url).netloc, timeout=20)
    idle.request("GET", "/health")
    idle.getresponse().read()
    ours = idle.sock
    with hostile.silent() as server:
        secrets = {"host": server.host, "port": server.port, "username": "u", "password": "p"}
        item = {"key": "k", "connection_type": "postgres", "access": "read", "secrets": secrets}
        headers = {"Authorization": f"Bearer {run_command(service.home, 'token').stdout.strip()}"}
        with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
            client.patch("/api/v1/connection", json=[item]).raise_for_status()
            answer = client.get("/api/v1/connection/k/test")
    assert answer.elapsed.total_seconds() > 2 * TIMEOUT
    assert answer.json()["failure_code"] == "timeout"
    idle.request("GET", "/health")
    assert idle.getresponse().read() == b'{"status":"healthy"}'
    assert idle.sock is ours
    idle.close()


def test_a_client_that_does_not_read_its_answers_is_cut_off(service, dial):
    connection = dial()
    # Far more than the buffers of the system take.
    connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300)
    ours = connection.getsockname()[1]

    def is_there():
        return any(
            there.raddr and there.raddr.port == ours
            for there in psutil.Process(service.process.pid).net_connections("tcp")
        )

    deadline = time.monotonic() + 20
    while not is_there():
        assert time.monotonic() < deadline
    while is_there():
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
    whole = len(httpx.get(f"{service.url}/openapi.json").content)
    got = 0
    with suppress(ConnectionError):
        while data := connection.recv(1 << 20):
            got += len(data)
    assert got < 300 * whole
