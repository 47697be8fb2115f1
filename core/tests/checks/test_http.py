"""`context.http`: the HTTP client of a test, in the process of one: where it connects, what it sends, what it takes."""

import socket

import pytest

from connectory.contract.check import FailureCode
from connectory.toolkit.http import failure_of_status
from servers.saas import misbehaviour
from servers.saas.web import Answer, Asked, WebServer, as_json
from testkit import hostile
from testkit.loopback import LoopbackServer, Peer

CONNECTED = [("resolve", "passed"), ("connect", "passed")]


def steps(report) -> list[tuple[str, str]]:
    return [(step.name, step.status) for step in report.steps]


def ok(_: Asked) -> Answer:
    return as_json(200, {"ok": True})


def asking(url: str, *requests: str, ca: str | None = None, then: str = "pass") -> str:
    """A test that opens a client for `url`, sends `requests` (arguments of `request`) as the step `query`, then does `then`."""
    sent = "\n        ".join(
        f"answer = client.request({request}); client.raise_for_status(answer)" for request in requests
    )
    return f"""
with context.http({url!r}, ca={ca!r}) as client:
    with context.step("query"):
        {sent or "pass"}
    {then}
"""


def answering(status: int, body: bytes = b"{}", **headers: str) -> WebServer:
    return WebServer(lambda _: Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body))


# Requests.


def test_a_path_is_below_the_url_that_the_client_was_opened_for(check):
    with WebServer(ok) as server:
        report = check(
            asking(
                f"{server.url}/api/v1?ignored=1",
                "'GET', '/me'",
                "'GET', 'users/7', params={'q': 'a b'}",
                f"'GET', '{server.url}/elsewhere?q=1'",
                "'GET', '//other.example/x'",
                then="assert answer.json() == {'ok': True}",
            )
        )
        server.wait_until_left()
    assert (report.status, steps(report)) == ("succeeded", [*CONNECTED, ("tls", "skipped"), ("query", "passed")])
    assert [(asked.path, asked.query) for asked in server.asked] == [
        ("/api/v1/me", {}),
        ("/api/v1/users/7", {"q": ["a b"]}),
        ("/elsewhere", {"q": ["1"]}),
        ("/api/v1/x", {}),
    ]
    assert server.connections == 1


def test_bodies_and_headers_are_sent(check):
    with WebServer(ok) as server:
        report = check(
            asking(
                server.url,
                "'POST', '/form', data={'grant_type': 'x y'}",
                "'POST', '/json', json={'a': [1]}",
                "'PUT', '/raw', content=b'raw', headers={'Authorization': 'Bearer t', 'Accept': 'text/plain'}",
            )
        )
    assert report.status == "succeeded"
    form, json, raw = server.asked
    assert form.form == {"grant_type": "x y"}
    assert (json.body, json.headers["content-type"]) == (b'{"a":[1]}', "application/json")
    assert (raw.body, raw.bearer, raw.headers["accept"]) == (b"raw", "t", "text/plain")
    assert form.headers["accept"] == "application/json"
    assert form.headers["user-agent"] == "connectory"


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1", "http://", "https:///path", "", "http://[::1", "x" * 70_000]
)
def test_a_url_that_is_none_is_refused(check, url):
    script = f"""
try:
    context.http({url!r}).__enter__()
except ValueError as error:
    assert "url" in str(error)
    context.skip_step("refused")
"""
    assert steps(check(script)) == [("refused", "skipped")]


def test_a_host_that_was_not_connected_to_is_an_error_of_the_connector(check):
    with WebServer(ok) as server, WebServer(ok) as other:
        unconnected = check(asking(server.url, f"'GET', '{other.url}/me'"))
        assert other.connections == 0
        connected = check(
            asking(server.url, then=f"client.connect({other.url!r})\n    client.request('GET', {other.url + '/me'!r})")
        )
        assert other.connections == 1
    assert (unconnected.code, unconnected.error_type) == (FailureCode.INTERNAL_DRIVER_ERROR, "ValueError")
    assert connected.status == "succeeded"


@pytest.mark.parametrize("tls", [False, True])
def test_a_connection_that_the_server_closed_is_opened_again(check, certificates, tls):
    """After an answer, and without another step."""
    certificate = certificates.server if tls else None
    with WebServer(lambda _: Answer(200, {"Connection": "close"}, b"{}"), certificate=certificate) as server:
        report = check(asking(server.url, "'GET', '/1'", "'GET', '/2'", "'GET', '/3'", ca=certificates.ca_pem))
    assert (report.status, [asked.path for asked in server.asked]) == ("succeeded", ["/1", "/2", "/3"])
    assert steps(report) == [*CONNECTED, ("tls", "passed" if tls else "skipped"), ("query", "passed")]
    assert server.connections == 3


def test_a_server_that_is_gone_when_the_connection_is_opened_again_refuses(check):
    def once(peer: Peer) -> None:
        peer.read_some()
        for listener in server._listeners:
            listener.shutdown(socket.SHUT_RDWR)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    server = LoopbackServer(once)
    with server:
        report = check(asking(f"http://127.0.0.1:{server.port}", "'GET', '/1'", "'GET', '/2'"))
    assert (report.code, steps(report)[-1]) == (FailureCode.CONNECT_REFUSED, ("query", "failed"))


def test_the_client_closes_its_connections_and_keeps_no_cookie(check):
    with WebServer(lambda _: Answer(200, {"Set-Cookie": "session=s"}, b"{}")) as server:
        report = check(asking(server.url, "'GET', '/1'", "'GET', '/2'"))
        server.wait_until_left()
    assert report.status == "succeeded"
    assert "cookie" not in server.asked[1].headers


def test_a_denied_address_is_not_connected_to(check):
    from connectory.checks.egress import EgressPolicy

    with WebServer(ok) as server:
        for policy in (EgressPolicy(), EgressPolicy(allow_loopback=True, deny=(f"*:{server.port}",))):
            report = check(asking(server.url, "'GET', '/'"), policy=policy)
            assert (report.code, steps(report)) == (FailureCode.ADDRESS_NOT_ALLOWED, [("resolve", "failed")])
        assert server.connections == 0


def test_nothing_is_taken_from_the_environment(check):
    with LoopbackServer(Peer.drain) as proxy, WebServer(ok) as server:
        proxied = f"import os\nos.environ['http_proxy'] = os.environ['ALL_PROXY'] = 'http://127.0.0.1:{proxy.port}'"
        assert check(proxied + asking(server.url, "'GET', '/'")).status == "succeeded"
        assert proxy.connections == 0


# TLS.


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_https_verifies_by_the_given_authorities(check, certificates, host):
    with WebServer(ok, certificate=certificates.server) as server:
        report = check(asking(f"https://{host}:{server.port}", "'GET', '/'", ca=certificates.ca_pem))
    assert (report.status, steps(report)) == ("succeeded", [*CONNECTED, ("tls", "passed"), ("query", "passed")])


@pytest.mark.parametrize("which", ["untrusted", "wrong_host"])
def test_another_certificate_is_refused_before_anything_is_sent(check, certificates, which):
    with WebServer(ok, certificate=getattr(certificates, which)) as server:
        report = check(asking(server.url, "'GET', '/'", ca=certificates.ca_pem))
    assert (report.code, report.reason) == (FailureCode.TLS_UNTRUSTED, FailureCode.TLS_UNTRUSTED.reason)
    assert (steps(report), server.asked) == ([*CONNECTED, ("tls", "failed")], [])


def test_where_the_machines_authorities_count_the_sentence_says_so(check, certificates):
    with WebServer(ok, certificate=certificates.server) as server:
        report = check(asking(server.url, "'GET', '/'"))
    assert (report.code, steps(report)) == (FailureCode.TLS_UNTRUSTED, [*CONNECTED, ("tls", "failed")])
    assert "this service's CA certificates" in report.reason


def test_a_server_without_tls_is_another_protocol(check):
    with hostile.speaks_http() as server:
        report = check(asking(f"https://127.0.0.1:{server.port}", "'GET', '/'"))
    assert (report.code, steps(report)) == (FailureCode.PROTOCOL_MISMATCH, [*CONNECTED, ("tls", "failed")])


# Answers.


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (200, None),
        (204, None),
        (301, FailureCode.UNEXPECTED_REDIRECT),
        (304, FailureCode.UNEXPECTED_REDIRECT),
        (400, FailureCode.HTTP_4XX),
        (401, FailureCode.AUTH_FAILED),
        (403, FailureCode.PERMISSION_DENIED),
        (404, FailureCode.HTTP_4XX),
        (429, FailureCode.RATE_LIMITED),
        (500, FailureCode.HTTP_5XX),
        (503, FailureCode.HTTP_5XX),
    ],
)
def test_what_is_no_success_has_the_code_of_its_status(check, status, code):
    with answering(status, b"" if status in {204, 304} else b"{}", Retry_After="30") as server:
        report = check(asking(server.url, "'GET', '/'"))
    assert (report.code, report.retry_after) == (code, 30 if status == 429 else None)
    assert failure_of_status(status) is code


@pytest.mark.parametrize(
    "location",
    [
        "https://other.example/",
        "//",
        "http://[::1",
        "http://:99999999/",
        "https://\xfc.example",
        "x" * 5_000,
        "http://a b.example/\t",
        "https:",
        "",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 399])
def test_a_redirect_is_one_wherever_it_points(check, status, location):
    raw = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode("latin-1")

    def handle(peer: Peer) -> None:
        peer.read_some()
        peer.send(raw)

    with LoopbackServer(handle) as server:
        report = check(asking(f"http://127.0.0.1:{server.port}", "'GET', '/'"))
        assert server.connections == 1
    assert (report.code, report.error_type) == (FailureCode.UNEXPECTED_REDIRECT, None)


@pytest.mark.parametrize("how", [misbehaviour.gzip_bomb, misbehaviour.flood], ids=["gzip bomb", "flood"])
def test_an_answer_that_is_too_long_ends_early(check, how):
    with WebServer(ok) as server:
        server.misbehave = how
        report = check(asking(server.url, "'GET', '/'"))
    assert (report.code, steps(report)[-1]) == (FailureCode.RESOURCE_LIMIT, ("query", "failed"))
    assert report.elapsed_ms < 8000


@pytest.mark.parametrize("how", [misbehaviour.drip, misbehaviour.drip_headers, misbehaviour.silence])
def test_a_server_that_does_not_finish_is_given_up_in_time(check, how):
    with WebServer(ok) as server:
        server.misbehave = how
        report = check(asking(server.url, "'GET', '/'"), deadline=3)
    assert (report.code, steps(report)[-1]) == (FailureCode.TIMEOUT, ("query", "failed"))
    assert report.elapsed_ms < 2900


@pytest.mark.parametrize(
    "how",
    [
        misbehaviour.hang_up,
        misbehaviour.other_protocol,
        misbehaviour.answers(200, b"not gzip", Content_Encoding="gzip"),
        misbehaviour.answers(200, b"{}", Content_Encoding="br"),
    ],
    ids=["hang-up", "other protocol", "not gzip", "unasked encoding"],
)
def test_what_is_not_http_is_another_protocol(check, how):
    with WebServer(ok) as server:
        server.misbehave = how
        report = check(asking(server.url, "'GET', '/'"))
    assert (report.code, steps(report)[-1]) == (FailureCode.PROTOCOL_MISMATCH, ("query", "failed"))
