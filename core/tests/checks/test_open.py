"""`context.open`: a connection, with TLS from the first byte or none, in the process of a test."""

import ssl

import pytest

from connectory.contract.check import FailureCode
from connectory.contract.ssl_mode import SslMode
from connectory.testing.ports import loopback_addresses
from testkit import hostile
from testkit.loopback import LoopbackServer, Peer

VERIFYING = [SslMode.VERIFY_CA, SslMode.VERIFY_FULL]
BRACKETED = [f"[{ip}]" for ip in loopback_addresses() if ":" in ip]
WITH_TLS = [SslMode.PREFERRED, SslMode.REQUIRED, *VERIFYING]


def steps(report) -> list[tuple[str, str]]:
    return [(step.name, step.status) for step in report.steps]


PASSED = [("resolve", "passed"), ("connect", "passed"), ("tls", "passed"), ("query", "passed")]
TLS_FAILED = [("resolve", "passed"), ("connect", "passed"), ("tls", "failed")]


def echo(certificate=None) -> LoopbackServer:
    """Answers with what it reads, over TLS where it has a certificate."""
    settings = certificate.server_context() if certificate else None

    def handle(peer: Peer) -> None:
        if settings is not None:
            peer.start_tls(settings)
        peer.send(peer.read(5))

    return LoopbackServer(handle, name="echo")


def opening(server, *, host="localhost", tls="disabled", ca=None, untrusted=None, then="pass") -> str:
    """A test that opens a connection, says hello, and does `then` with the link."""
    return f"""
from connectory import SslMode
with context.open({host!r}, {server.port}, tls=SslMode({tls!r}), ca={ca!r}, untrusted={untrusted!r}) as link:
    with context.step("query"):
        link.socket.sendall(b"hello")
        assert link.socket.recv(5) == b"hello"
    {then}
assert link.socket.fileno() == -1
"""


@pytest.mark.parametrize("host", ["localhost", *loopback_addresses(), *BRACKETED])
def test_without_tls_the_step_is_skipped(check, host):
    then = "assert (link.encrypted, link.ssl_context, link.ca, link.host) == (False, None, None, {host!r})"
    with echo() as server:
        report = check(opening(server, host=host, then=then.format(host=host)))
        server.wait_until_left()
        assert server.received == b"hello"
    assert (report.status, steps(report)) == (
        "succeeded",
        [("resolve", "passed"), ("connect", "passed"), ("tls", "skipped"), ("query", "passed")],
    )
    assert (report.encrypted, report.verified, report.steps[2].reason) == (False, False, "not_requested")


def test_it_says_what_it_is_connected_to(check):
    then = (
        "assert (link.address.ip, link.address.port) == link.socket.getpeername()[:2]\n"
        "    assert 0 < link.socket.gettimeout() <= context.timeout + 1"
    )
    with echo() as server:
        assert check(opening(server, then=then)).status == "succeeded"


@pytest.mark.parametrize("tls", WITH_TLS)
@pytest.mark.parametrize("host", ["localhost", *loopback_addresses(), *BRACKETED])
def test_a_certificate_of_the_given_authority_is_accepted(check, certificates, tls, host):
    """In every mode."""
    then = (
        "assert link.encrypted and link.socket.version().startswith('TLS')\n"
        "    assert link.ssl_context is link.socket.context\n"
        f"    assert link.ca == ({certificates.ca_pem!r} if {tls.verifies} else None)"
    )
    with echo(certificates.server) as server:
        report = check(opening(server, host=host, tls=tls.value, ca=certificates.ca_pem, then=then))
    assert (report.status, steps(report)) == ("succeeded", PASSED)
    assert (report.encrypted, report.verified) == (True, tls.verifies)


@pytest.mark.parametrize("tls", WITH_TLS)
@pytest.mark.parametrize("which", ["untrusted", "wrong_host"])
def test_another_certificate_is_refused_as_the_mode_says(check, certificates, tls, which):
    accepted = not tls.verifies or (which == "wrong_host" and tls is SslMode.VERIFY_CA)
    with echo(getattr(certificates, which)) as server:
        report = check(opening(server, tls=tls.value, ca=certificates.ca_pem))
        server.wait_until_left()
        assert server.received == (b"hello" if accepted else b"")
    if accepted:
        assert (report.status, steps(report)) == ("succeeded", PASSED)
    else:
        assert (report.code, report.reason) == (FailureCode.TLS_UNTRUSTED, FailureCode.TLS_UNTRUSTED.reason)
        assert steps(report) == TLS_FAILED
        assert (report.encrypted, report.verified) == (None, None)


@pytest.mark.parametrize("tls", VERIFYING)
def test_without_authorities_of_its_own_the_machines_count(check, certificates, monkeypatch, tls):
    then = "assert link.ca.count('BEGIN CERTIFICATE') >= 1"
    with echo(certificates.server) as server:
        assert check(opening(server, tls=tls.value)).code is FailureCode.TLS_UNTRUSTED
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        assert check(opening(server, tls=tls.value, then=then)).status == "succeeded"


def test_a_connector_may_say_what_to_do_about_a_certificate(check, certificates):
    """Where the one of the far end is not accepted."""
    with echo(certificates.untrusted) as server:
        report = check(opening(server, tls="verify-full", ca=certificates.ca_pem, untrusted="Ask the ledger's owner."))
    assert (report.code, report.reason) == (FailureCode.TLS_UNTRUSTED, "Ask the ledger's owner.")
    with hostile.speaks_ssh() as server:
        report = check(opening(server, tls="verify-full", untrusted="Ask the ledger's owner."))
    assert (report.code, report.reason) == (FailureCode.PROTOCOL_MISMATCH, FailureCode.PROTOCOL_MISMATCH.reason)


def test_authorities_that_cannot_be_read_are_a_failure_with_a_remedy(check, certificates):
    with echo(certificates.server) as server:
        report = check(opening(server, tls="verify-full", ca="no certificate"))
    assert (report.code, steps(report)) == (FailureCode.TLS_UNTRUSTED, TLS_FAILED)
    assert "not a readable PEM certificate" in report.reason


@pytest.mark.parametrize("tls", WITH_TLS)
def test_a_server_without_tls_is_another_protocol_in_every_mode(check, tls):
    with hostile.speaks_http() as server:
        report = check(opening(server, tls=tls.value))
    assert (report.code, steps(report)) == (FailureCode.PROTOCOL_MISMATCH, TLS_FAILED)


def test_a_server_that_hangs_up_does_no_tls(check):
    with hostile.closes_at_once() as server:
        report = check(opening(server, tls="required"))
    assert (report.code, steps(report)) == (FailureCode.TLS_FAILED, TLS_FAILED)


def test_a_server_that_says_nothing_is_given_up_before_the_kill(check):
    with hostile.silent() as server:
        report = check(opening(server, tls="required"), deadline=2)
        server.wait_until_left()
    assert (report.code, steps(report)) == (FailureCode.TIMEOUT, TLS_FAILED)
    assert report.elapsed_ms < 1900


def test_a_server_that_drips_its_handshake_is_ended_at_the_deadline(check):
    record = b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb"  # a ServerHello of 16 KiB
    with hostile.slow_drip(record) as server:
        report = check(opening(server, tls="required"), deadline=2)
    assert (report.code, steps(report)) == (FailureCode.TIMEOUT, TLS_FAILED)


def test_an_old_protocol_is_not_spoken(check, certificates):
    def handle(peer: Peer) -> None:
        peer.start_tls(old)

    old = certificates.server.server_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with LoopbackServer(handle) as server:
        report = check(opening(server, tls="required"))
    assert (report.code, steps(report)) == (FailureCode.TLS_FAILED, TLS_FAILED)


def test_nobody_listens(check):
    with hostile.refused_port() as nobody:
        report = check(opening(nobody, tls="required"))
    assert (report.code, steps(report)) == (FailureCode.CONNECT_REFUSED, [("resolve", "passed"), ("connect", "failed")])


def test_the_connection_is_closed_when_the_test_of_it_fails(check, certificates):
    with echo(certificates.server) as server:
        report = check(
            opening(server, tls="required", then="kept = link; 1/0").replace(
                "with context.open", "import gc\nwith context.open"
            )
        )
        server.wait_until_left()
    assert (report.code, report.error_type) == (FailureCode.INTERNAL_DRIVER_ERROR, "ZeroDivisionError")


def test_it_leaves_no_descriptor(check, certificates):
    script = """
import os
from connectory import SslMode
def opened():
    found = []
    for descriptor in range(256):
        try:
            found.append((descriptor, os.fstat(descriptor).st_ino))
        except OSError:
            pass
    return found
before = opened()
for ca in ({ca!r}, {other!r}, "no certificate"):
    try:
        with context.open("localhost", {port}, tls=SslMode.VERIFY_FULL, ca=ca):
            pass
    except CheckFailed:
        pass
    assert opened() == before, ca
"""
    with echo(certificates.server) as server:
        filled = script.format(ca=certificates.ca_pem, other=certificates.other_ca_pem, port=server.port)
        assert check(filled).status == "succeeded"
