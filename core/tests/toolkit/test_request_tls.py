"""Asking for TLS where the client asks and one byte answers, and what a url may leave out that the parts may not."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest

from connectory import CheckContext, CheckFailed, FailureCode, Host, Secrets, SecretText, SslMode, UrlGrammar
from connectory.documents.json_schema import secret_json_schema
from connectory.documents.validation import SecretsInvalid, parse_secrets
from connectory.testing.certificates import Certificates
from connectory.toolkit import request_tls as ask
from connectory.toolkit import tls_context
from testkit.loopback import LoopbackServer, Peer

REQUEST = b"TLS?"


class Steps(CheckContext):
    """A context that notes the steps, and gives each wait a second."""

    timeout = 1.0

    def __init__(self) -> None:
        self.seen: list[str] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.seen.append(name)
        yield

    def skip_step(self, name: str) -> None:
        self.seen.append(f"no {name}")

    def report_tls(self, *, verified: bool) -> None:
        self.seen.append("verified" if verified else "not verified")

    def resolve(self, host, port):
        raise NotImplementedError

    def connect(self, host, port):
        raise NotImplementedError

    def settings(self, model):
        raise NotImplementedError

    tokens = None

    def store_tokens(self, tokens):
        raise NotImplementedError


def answering(answer: bytes, then: Callable[[Peer], None] = Peer.drain) -> LoopbackServer:
    """A far end that answers the request with `answer`, and goes on with `then`."""

    def handle(peer: Peer) -> None:
        peer.read(len(REQUEST))
        peer.send(answer)
        then(peer)

    return LoopbackServer(handle, name="answers the request for TLS")


def request_tls(
    server: LoopbackServer, mode: SslMode, steps: Steps | None = None, settings: ssl.SSLContext | None = None
) -> ssl.SSLSocket | None:
    settings = settings or tls_context(SslMode.REQUIRED, None)
    with socket.create_connection((server.host, server.port), timeout=5) as connection:
        encrypted = ask(
            steps or Steps(),
            connection,
            mode,
            "localhost",
            request=REQUEST,
            accepted=b"Y",
            declined=b"N",
            settings=lambda: settings,
        )
        if encrypted is not None:
            encrypted.close()
        return encrypted


def test_tls_that_is_accepted_encrypts_the_connection(certificates: Certificates):
    def encrypt(peer: Peer) -> None:
        peer.start_tls(certificates.server.server_context())
        peer.drain()

    for mode in (SslMode.PREFERRED, SslMode.REQUIRED):
        with answering(b"Y", encrypt) as server:
            steps = Steps()
            assert isinstance(request_tls(server, mode, steps), ssl.SSLSocket)
            assert steps.seen == ["tls", "not verified"]


def test_the_report_goes_by_the_certificate_that_was_verified(certificates: Certificates):
    def encrypt(peer: Peer) -> None:
        peer.start_tls(certificates.server.server_context())
        peer.drain()

    with answering(b"Y", encrypt) as server:
        steps = Steps()
        settings = ssl.create_default_context(cadata=certificates.ca_pem)
        assert isinstance(request_tls(server, SslMode.PREFERRED, steps, settings), ssl.SSLSocket)
    assert steps.seen == ["tls", "verified"]


def test_tls_that_is_declined_is_a_failure_where_it_is_needed():
    with answering(b"N") as server:
        steps = Steps()
        assert request_tls(server, SslMode.PREFERRED, steps) is None
        assert steps.seen == ["tls", "no tls"]  # skipped while it is open: asked for, and not offered
        with pytest.raises(CheckFailed) as failed:
            request_tls(server, SslMode.REQUIRED)
    assert failed.value.code is FailureCode.TLS_FAILED


def test_nothing_is_asked_where_tls_is_disabled():
    with answering(b"Y") as server:
        steps = Steps()
        assert request_tls(server, SslMode.DISABLED, steps) is None
        server.wait_until_left()
        assert (server.received, steps.seen) == (b"", ["no tls"])


@pytest.mark.parametrize("answer", [b"H", b"\0", b"Yes, but this is no TLS"])
def test_any_other_answer_is_another_protocol(answer: bytes):
    with answering(answer) as server, pytest.raises(CheckFailed) as failed:
        request_tls(server, SslMode.REQUIRED)
    assert failed.value.code is FailureCode.PROTOCOL_MISMATCH


def test_no_answer_is_a_timeout_and_a_closed_connection_another_protocol():
    with LoopbackServer(Peer.drain) as server, pytest.raises(TimeoutError):  # the service says in which step
        request_tls(server, SslMode.PREFERRED)
    with LoopbackServer(lambda _: None, name="closes") as server, pytest.raises(CheckFailed) as closed:
        request_tls(server, SslMode.PREFERRED)
    assert closed.value.code is FailureCode.PROTOCOL_MISMATCH


class LedgerSecrets(Secrets):
    """A password that a url may leave out and the parts may not."""

    connectory_url = UrlGrammar(
        schemes={"ledger": {}},
        port=None,
        username="user",
        path=(),
        required_parts=frozenset({"password"}),
    )

    host: Host
    user: str | None = None
    password: SecretText | None = None


def test_a_part_may_be_required_and_still_be_left_out_of_a_url():
    assert parse_secrets(LedgerSecrets, {"url": "ledger://u@h"}).password is None
    assert parse_secrets(LedgerSecrets, {"host": "h", "password": "p"}).user is None
    with pytest.raises(SecretsInvalid, match="'url' or all of: \\[password\\]"):
        parse_secrets(LedgerSecrets, {"host": "h"})
    with_url, with_parts = secret_json_schema(LedgerSecrets, "ledger", "Ledger")["anyOf"]
    assert (with_url["required"], with_parts["required"]) == (["url"], ["host", "password"])
