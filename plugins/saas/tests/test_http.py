"""The way to the far end: TLS, and what a hostile one may do to it."""

import time
from pathlib import Path

import pytest

from connectory import FailureCode
from connectory.testing import Certificates, CheckReport, ServerCertificate, Workbench
from servers.saas import Stripe, misbehaviour
from servers.saas.web import misbehaving
from testkit.checking import Check, protection
from testkit.loopback import LoopbackServer, Peer


def failed_step(report: CheckReport) -> str:
    [step] = [step.name for step in report.steps if step.status == "failed"]
    return step


class TestTls:
    @pytest.fixture
    def trusting(self, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))

    @pytest.fixture
    def check(self, workbench: Workbench) -> Check:
        def check(stripe: Stripe, *, host: str = "127.0.0.1") -> CheckReport:
            settings = {"CONNECTORY_SAAS_ENDPOINTS": f'{{"api.stripe.com": "https://{host}:{stripe.port}"}}'}
            return workbench.test("stripe", "connectory-saas", stripe.secrets, settings=settings).report

        return check

    @pytest.mark.usefixtures("trusting")
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_a_trusted_certificate_of_that_name_is_accepted(
        self, check: Check, certificates: Certificates, host: str
    ) -> None:
        with Stripe(certificate=certificates.server) as stripe:
            report = check(stripe, host=host)
        assert report.status == "succeeded"
        assert [step.name for step in report.steps] == ["resolve", "connect", "tls", "authenticate"]
        assert protection(report) == ("passed", True, True)
        assert stripe.asked[0].headers["host"] == f"{host}:{stripe.port}"

    @pytest.mark.usefixtures("trusting")
    @pytest.mark.parametrize("which", ["untrusted", "wrong_host"])
    def test_another_certificate_is_refused_before_anything_is_sent(
        self, check: Check, certificates: Certificates, which: str
    ) -> None:
        certificate: ServerCertificate = getattr(certificates, which)
        with Stripe(certificate=certificate) as stripe:
            report = check(stripe)
        assert (report.code, failed_step(report)) == (FailureCode.TLS_UNTRUSTED, "tls")
        assert stripe.asked == []

    def test_the_machines_own_authorities_count(self, check: Check, certificates: Certificates, tmp_path: Path) -> None:
        with Stripe(certificate=certificates.server) as stripe:
            assert check(stripe).code == FailureCode.TLS_UNTRUSTED

    def test_a_server_without_tls_gets_nothing(self, check: Check) -> None:
        with Stripe() as stripe:
            report = check(stripe)
        assert report.code in {FailureCode.PROTOCOL_MISMATCH, FailureCode.TLS_FAILED}
        assert failed_step(report) == "tls"
        assert b"right4711" not in stripe.received


@pytest.mark.parametrize("how", [misbehaviour.gzip_bomb, misbehaviour.flood], ids=["gzip bomb", "flood"])
def test_an_answer_that_is_too_long_ends_early(check: Check, how: misbehaviour.Misbehaviour) -> None:
    with Stripe() as stripe, misbehaving(stripe, how):
        started = time.monotonic()
        report = check(stripe)
    assert report.code == FailureCode.RESOURCE_LIMIT
    assert time.monotonic() - started < 8


def test_a_header_that_does_not_end_is_given_up_in_time(check: Check) -> None:
    with Stripe() as stripe, misbehaving(stripe, misbehaviour.drip_headers):
        report = check(stripe, deadline=2)
    assert (report.code, failed_step(report)) == (FailureCode.TIMEOUT, "authenticate")
    assert report.elapsed_ms < 6000


@pytest.mark.parametrize(
    "how",
    [
        misbehaviour.hang_up,
        misbehaviour.other_protocol,
        misbehaviour.answers(200, b"not gzip", Content_Type="application/json", Content_Encoding="gzip"),
        misbehaviour.answers(200, b"{}", Content_Type="application/json", Content_Encoding="br"),
        misbehaviour.answers(200, b"[" * 100_000, Content_Type="application/json"),
        misbehaviour.answers(200, b'{"object": ', Content_Type="application/json"),
        misbehaviour.answers(200, b"", Content_Type="application/json"),
        misbehaviour.answers(204),
        misbehaviour.answers(200, b"\xff\xfe\x00", Content_Type="application/json"),
    ],
    ids=[
        "hang-up",
        "other protocol",
        "no gzip",
        "unasked encoding",
        "nested",
        "cut off",
        "empty",
        "no content",
        "no text",
    ],
)
def test_what_is_no_answer_of_the_service_is_a_protocol_mismatch(check: Check, how: misbehaviour.Misbehaviour) -> None:
    with Stripe() as stripe, misbehaving(stripe, how):
        report = check(stripe)
    assert (report.code, failed_step(report)) == (FailureCode.PROTOCOL_MISMATCH, "authenticate")


def test_compressed_answers_are_read(check: Check) -> None:
    import gzip

    body = gzip.compress(b'{"object": "balance", "available": []}')
    how = misbehaviour.answers(200, body, Content_Type="application/json", Content_Encoding="gzip")
    with Stripe() as stripe, misbehaving(stripe, how):
        assert check(stripe).status == "succeeded"


def test_what_the_server_says_is_never_shown(check: Check) -> None:
    for status in (200, 302, 400, 401, 403, 404, 429, 500):
        how = misbehaviour.answers(status, b'{"error": "marker-77aa"}', Location="https://marker-77aa.example/")
        with Stripe() as stripe, misbehaving(stripe, how):
            assert "marker-77aa" not in repr(check(stripe))


LOCATIONS = {
    "an open bracket": b"http://[",
    "half an address": b"http://[::1",
    "a bracket in the middle": b"http://a]b[c/",
    "a port that is a word": b"http://api.example:port/",
    "a port that is too high": b"http://:99999999/",
    "a port of 5000 digits": b"http://h:" + b"9" * 5000,
    "relative": b"../login",
    "of the same scheme": b"//",
    "a scheme alone": b"https:",
    "another scheme": b"javascript:alert(1)",
    "empty": b"",
    "blanks": b" \t ",
    "a tab": b"http://a\tb/",
    "not ASCII": "http://ü.example/€".encode(),
    "not UTF-8": b"http://\xff\xfe/",
    "not a name": b"http://xn--" + b"a" * 70 + b"/",
    "half an escape": b"http://h/%",
    "70 kB": b"http://h/" + b"a" * 70_000,
    "70 kB of brackets": b"http://" + b"[" * 70_000,
}


@pytest.mark.parametrize(("status", "location"), [(301, None), (303, b"http://["), (307, b"http://["), (308, None)])
def test_every_kind_of_redirect_is_a_redirect(check: Check, status: int, location: bytes | None) -> None:
    with Stripe() as stripe, misbehaving(stripe, misbehaviour.raw(status, location)):
        report = check(stripe)
    assert (report.code, failed_step(report)) == (FailureCode.UNEXPECTED_REDIRECT, "authenticate")


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS)
def test_a_redirect_to_nowhere_is_a_redirect(check: Check, location: bytes) -> None:
    with Stripe() as stripe, misbehaving(stripe, misbehaviour.raw(302, location)):
        report = check(stripe)
    assert (report.code, failed_step(report)) == (FailureCode.UNEXPECTED_REDIRECT, "authenticate")
    assert len(stripe.asked) == 1


NO_HTTP = {
    "a NUL": [b"Location: http://a\0b/"],
    "an escape character": [b"Location: http://\x1b[31m/"],
    "a line feed that starts no header": [b"Location: http://a\n/b"],
    "a carriage return": [b"Location: http://a\rb/"],
    "200 kB": [b"Location: http://h/" + b"a" * 200_000],
    "a header that never ends": [b"Location: http://h/" + b"a" * 2_000_000],
    "a hundred thousand headers": [b"X-%d: a" % number for number in range(100_000)],
    "a header without a name": [b": http://h/"],
    "a header that is no header": [b"Location"],
    "a header with a blank name": [b"Loca tion: http://h/"],
}


@pytest.mark.parametrize("lines", NO_HTTP.values(), ids=NO_HTTP)
def test_a_redirect_that_breaks_the_rules_of_http_is_another_protocol(check: Check, lines: list[bytes]) -> None:
    with Stripe() as stripe, misbehaving(stripe, misbehaviour.raw(302, None, *lines)):
        report = check(stripe)
    assert report.code in {FailureCode.UNEXPECTED_REDIRECT, FailureCode.PROTOCOL_MISMATCH}
    assert failed_step(report) == "authenticate"


def test_many_headers_are_still_an_answer(check: Check) -> None:
    lines = [b"Location: http://[", *(b"X-%d: a" % number for number in range(2000))]
    with Stripe() as stripe, misbehaving(stripe, misbehaviour.raw(302, None, *lines)):
        assert check(stripe).code == FailureCode.UNEXPECTED_REDIRECT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry-After": "30"}, 30),
        ({"Retry-After": "1.5"}, 2),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "99999999999"}, 86400),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86400),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 +99999999"}, None),
        ({"Retry-After": "Wed, 99 Oct 99999 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_is_passed_on_is_a_sane_one(check: Check, header: dict[str, str], seconds: float | None) -> None:
    how = misbehaviour.answers(429, b"{}", **{name.replace("-", "_"): value for name, value in header.items()})
    with Stripe() as stripe, misbehaving(stripe, how):
        report = check(stripe)
    assert (report.code, report.retry_after) == (FailureCode.RATE_LIMITED, seconds)
    assert ("try again later" in report.reason) == (seconds is None)
    assert (f"try again in {seconds} seconds" in report.reason) == (seconds is not None)


def test_a_proxy_of_the_services_environment_is_not_used(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(Peer.drain, name="proxy") as proxy, Stripe() as stripe:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.host}:{proxy.port}")
        assert check(stripe).status == "succeeded"
        assert proxy.connections == 0
