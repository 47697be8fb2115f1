"""One vocabulary for TLS: what each mode accepts of a server, over real handshakes."""

import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from connectory import CheckFailed, FailureCode, SslMode
from connectory.testing.certificates import Certificates, ServerCertificate, make_certificates
from connectory.toolkit import is_verified, path_of, system_certificates, tls_context, tls_failure
from connectory.toolkit.tls import server_name


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def handshake(context: ssl.SSLContext, server: ServerCertificate, host: str = "localhost") -> OSError | None:
    """What a client meets that does a handshake with a server of that certificate: an error, or nothing."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.server_context().wrap_socket(theirs, server_side=True) as encrypted:
                encrypted.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ours.settimeout(10)
        with context.wrap_socket(ours, server_hostname=host):
            return None
    except OSError as error:
        return error
    finally:
        ours.close()
        thread.join(10)


@pytest.mark.parametrize("mode", [SslMode.PREFERRED, SslMode.REQUIRED])
def test_encryption_alone_asks_nothing_of_the_certificate(certificates, mode):
    assert handshake(tls_context(mode, None), certificates.untrusted) is None


@pytest.mark.parametrize("mode", [SslMode.VERIFY_CA, SslMode.VERIFY_FULL])
def test_a_certificate_of_another_authority_is_untrusted(certificates, mode):
    error = handshake(tls_context(mode, certificates.ca_pem), certificates.untrusted)
    assert tls_failure(error) is FailureCode.TLS_UNTRUSTED
    assert handshake(tls_context(mode, certificates.ca_pem), certificates.server) is None


def test_only_the_full_check_looks_at_the_host(certificates):
    assert handshake(tls_context(SslMode.VERIFY_CA, certificates.ca_pem), certificates.wrong_host) is None
    error = handshake(tls_context(SslMode.VERIFY_FULL, certificates.ca_pem), certificates.wrong_host)
    assert tls_failure(error) is FailureCode.TLS_UNTRUSTED


def test_without_a_ca_the_systems_authorities_count(certificates):
    error = handshake(tls_context(SslMode.VERIFY_CA, None), certificates.server)
    assert tls_failure(error) is FailureCode.TLS_UNTRUSTED


@pytest.mark.parametrize("ca", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_a_ca_that_holds_no_certificate_is_a_failure_with_a_remedy(ca):
    with pytest.raises(CheckFailed) as failed:
        tls_context(SslMode.VERIFY_FULL, ca)
    assert failed.value.code is FailureCode.TLS_UNTRUSTED
    assert "CA certificate" in failed.value.remedy


def test_nothing_is_verified_before_the_handshake(certificates):
    """Which `core/tests/checks/test_open.py` has, in every mode."""
    settings = tls_context(SslMode.VERIFY_FULL, certificates.ca_pem)
    waiting = settings.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(ValueError, match="handshake"):
        is_verified(waiting)


def test_old_protocols_are_not_spoken():
    assert tls_context(SslMode.REQUIRED, None).minimum_version >= ssl.TLSVersion.TLSv1_2


def test_other_failures_are_told_apart_by_type():
    assert tls_failure(TimeoutError()) is FailureCode.TIMEOUT
    assert tls_failure(ssl.SSLError()) is FailureCode.TLS_FAILED
    assert tls_failure(ConnectionResetError()) is FailureCode.TLS_FAILED


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("db.example", "db.example"),
        ("db.example.", "db.example"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_a_server_is_named_without_brackets_and_without_the_root_of_the_dns(host, name):
    assert server_name(host) == name


def test_what_a_mode_asks_for_can_be_asked_of_it():
    assert [mode for mode in SslMode if mode.verifies] == [SslMode.VERIFY_CA, SslMode.VERIFY_FULL]
    assert [mode for mode in SslMode if not mode.needs_tls] == [SslMode.DISABLED, SslMode.PREFERRED]


@pytest.mark.parametrize("length", [1, 60_000, 300_000, 1_000_000, 3_000_000])
def test_content_is_read_from_a_path_without_a_file(length):
    long_content = "0123456789" * (length // 10 + 1)
    with path_of(long_content) as path:
        assert Path(path).read_text() == long_content
        assert not Path(path).is_file()
    assert not Path(path).exists()


@pytest.mark.parametrize("length", [1_000, 3_000_000])
def test_content_that_nobody_reads_is_dropped(length):
    with path_of("x" * length):
        pass


# What libpq does: it reads the file in C, and no other thread of the interpreter runs meanwhile.
HOLDING_THE_INTERPRETER = """
import ctypes
from connectory.toolkit import path_of
libc = ctypes.PyDLL(None)
buffer = ctypes.create_string_buffer(65536)
with path_of("x" * 400_000) as path:
    file, total = libc.open(path.encode(), 0), 0
    while (count := libc.read(file, buffer, len(buffer))) > 0:
        total += count
print(total)
"""


def test_a_driver_may_hold_the_interpreter_while_it_reads():
    done = subprocess.run(
        [sys.executable, "-c", HOLDING_THE_INTERPRETER], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "400000\n"


def test_the_systems_certificates_are_pem():
    text = system_certificates()
    assert text.count("-----BEGIN CERTIFICATE-----") == text.count("-----END CERTIFICATE-----")
