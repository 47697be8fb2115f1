"""The connection check: what a plugin receives, what it may raise, and the closed set of failure codes."""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from connectory.contract.settings import SettingsT
from connectory.contract.ssl_mode import SslMode

if TYPE_CHECKING:
    from connectory.toolkit.http import HttpClient


class FailureCode(StrEnum):
    """Why a connection test failed. The set is closed: consumers may switch on it.

    Attributes:
        reason: our own sentence for the code: what happened, and what to do. Never the server's or the driver's text.
            `{key}` in it stands for the connection's key.
    """

    _value_: str
    reason: str

    def __new__(cls, value: str, reason: str = "") -> FailureCode:
        """A member from its word and its sentence. `FailureCode("timeout")` finds the member of a word."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.reason = reason
        return member

    SECRETS_MISSING = (
        "secrets_missing",
        "No secrets are stored for this connection; set them with PUT /connection/{key}/secret.",
    )
    SECRETS_UNREADABLE = (
        "secrets_unreadable",
        (
            "The stored secrets cannot be opened with the configured keys; "
            "send a complete set with PUT /connection/{key}/secret, or restore the key."
        ),
    )
    CONNECTOR_UNAVAILABLE = (
        "connector_unavailable",
        "The connector of this connection is not installed or did not load.",
    )
    DRIVER_MISSING = ("driver_missing", "The connector is installed, but the driver it needs cannot be imported.")
    ADDRESS_NOT_ALLOWED = (
        "address_not_allowed",
        (
            "This service may not connect to the host, or to an address or the port of it; POST /egress/check names the rule, "
            "which its operator can change with CONNECTORY_EGRESS_ALLOW, CONNECTORY_EGRESS_DENY or "
            "CONNECTORY_EGRESS_ALLOW_LOOPBACK."
        ),
    )
    DNS_FAILED = ("dns_failed", "The host name could not be resolved; check its spelling and the service's DNS.")
    DNS_TIMEOUT = ("dns_timeout", "Resolving the host name took too long; check the service's DNS.")
    CONNECT_REFUSED = (
        "connect_refused",
        "The host refused the connection; check host and port, and that the server is running.",
    )
    CONNECT_TIMEOUT = (
        "connect_timeout",
        "The host did not accept a connection in time; check host, port and firewalls.",
    )
    PROTOCOL_MISMATCH = (
        "protocol_mismatch",
        "The server that answered is not of the expected kind; check host and port.",
    )
    TLS_FAILED = ("tls_failed", "An encrypted connection could not be set up; check whether the server offers TLS.")
    TLS_UNTRUSTED = (
        "tls_untrusted",
        "The server's certificate was not accepted; check the host name and the CA certificate in the secrets.",
    )
    AUTH_FAILED = ("auth_failed", "The server rejected the credentials; check user name and password.")
    INSECURE_AUTH_REFUSED = (
        "insecure_auth_refused",
        (
            "The server asked for the password itself, which is only sent through TLS with a verified certificate; "
            "enable TLS on the server and set ssl_mode to verify-full, or let it ask for a challenge-response login."
        ),
    )
    DATABASE_NOT_FOUND = ("database_not_found", "The login was accepted, but the database does not exist.")
    SCHEMA_NOT_FOUND = ("schema_not_found", "The database was opened, but the schema does not exist.")
    PERMISSION_DENIED = ("permission_denied", "The login was accepted, but it lacks the permission that is needed.")
    QUERY_FAILED = ("query_failed", "The login was accepted, but the server failed to answer a trivial request.")
    UNEXPECTED_REDIRECT = (
        "unexpected_redirect",
        "The service answered with a redirect, which is not followed; check the domain.",
    )
    RATE_LIMITED = ("rate_limited", "The service refuses further requests for now; try again later.")
    HTTP_4XX = ("http_4xx", "The service rejected the request; check the domain and the account.")
    HTTP_5XX = ("http_5xx", "The service answered with an error of its own; try again later.")
    TIMEOUT = ("timeout", "The server stopped answering, and the test was ended at its deadline.")
    RESOURCE_LIMIT = ("resource_limit", "The server sent more than a test may take, and the test was ended.")
    CRASHED = ("crashed", "The driver crashed during the test; the service itself is not affected.")
    INTERNAL_DRIVER_ERROR = (
        "internal_driver_error",
        "The driver failed in an unexpected way; the service's log names the error type.",
    )


WAIT_LIMIT = 86_400
"""Seconds: the longest wait that is passed on. Whoever limits requests by the day asks for a day."""


class CheckFailed(Exception):
    """Raised by `connectory_test_connection` when the connection does not work.

    Args:
        code: one of `FailureCode`.
        step: the step that failed; by default the step that is open, else the last one.
        remedy: a sentence of the plugin's own that replaces the standard one. Must be a constant: never put a
            value from the secrets or text from the server or driver into it. `{key}` in it is replaced by the
            connection's key.
        retry_after: seconds the far end asked to wait, for `rate_limited`; ignored for other codes. It is passed on as a whole
            number, rounded up, of at most `WAIT_LIMIT`.
    """

    def __init__(
        self, code: FailureCode, *, step: str | None = None, remedy: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.step = step
        self.remedy = remedy
        self.retry_after = retry_after


ErrorT = TypeVar("ErrorT", bound=BaseException)

Failures = Mapping[type[BaseException], FailureCode | CheckFailed]
"""What exceptions mean: a code, or a `CheckFailed` where a remedy of your own goes with it.

Without an entry of yours, every test knows these: `TimeoutError` is `timeout` (in the step `resolve` `dns_timeout`, in `connect`
`connect_timeout`), `ConnectionRefusedError` is `connect_refused`, any other `ConnectionError` and `EOFError` are
`protocol_mismatch`, `ssl.SSLCertVerificationError` is `tls_untrusted`, any other `ssl.SSLError` is `tls_failed`, `MemoryError` is
`resource_limit`, `ImportError` is `driver_missing`. Everything else is `internal_driver_error`. An entry of yours comes before
these; only `MemoryError`, a denied address, and running out of descriptors or memory are never looked up.
"""


class CheckSkipped(Exception):
    """Raised by `connectory_test_connection` when there is nothing to connect to."""


UNVERIFIED_CLEARTEXT = (
    "The server asks for the password itself, and its certificate was not verified, so it was not sent: set ssl_mode to "
    "verify-full or verify-ca, with ssl_ca for a private CA or a self-signed certificate. Only the operator of this service can "
    "allow it unverified: CONNECTORY_ALLOW_CLEARTEXT_IN_UNVERIFIED_TLS."
)
"""The remedy of `insecure_auth_refused` where there is TLS, with a certificate that nobody verified."""


class Address(NamedTuple):
    """One vetted network address: `ip` as text (no brackets), and the TCP `port`."""

    ip: str
    port: int


@dataclass(frozen=True)
class Link:
    """An open connection to the far end.

    Attributes:
        host: the name it was opened for. A driver written in Python may be given the name: in the process of a test it resolves
            to the vetted addresses, and to nothing else. A native one must be given `address`.
        address: the vetted address it is connected to.
        socket: the connection, encrypted where TLS was asked for. Its timeout is `CheckContext.timeout`.
        ssl_context: the TLS settings of `socket`, for drivers that take an `ssl.SSLContext`; `None` without TLS.
        ca: what verifies the far end, as PEM: the certificates that were given, else the machine's; `None` where nothing
            verifies it.
    """

    host: str
    address: Address
    socket: socket.socket
    ssl_context: ssl.SSLContext | None
    ca: str | None

    @property
    def encrypted(self) -> bool:
        """Whether `socket` is encrypted."""
        return self.ssl_context is not None


class CheckContext(ABC):
    """What a test may use of the service that runs it. One instance lives for one test."""

    @property
    @abstractmethod
    def timeout(self) -> float:
        """Seconds that a driver call may still take, at least 0.1. Ends one second before the test is killed."""

    @abstractmethod
    def step(
        self, name: str, failures: Mapping[type[ErrorT], FailureCode | CheckFailed] | None = None
    ) -> AbstractContextManager[None]:
        """Report what happens inside as the step `name`: `resolve`, `connect`, `tls`, `authenticate`, `query`, …

        A step that ends without an exception has passed. Steps do not nest: opening one ends the one before it.

        Args:
            name: what the report calls the step: `^[a-z][a-z0-9_]{0,39}$`.
            failures: what the driver's exceptions mean in this step, by their class; of several that fit, the nearest in the
                exception's ancestry counts. The table ends when another step begins. Default: only what every test knows, see
                `Failures`.
        """

    @abstractmethod
    def skip_step(self, name: str) -> None:
        """Report that the step `name` was not taken.

        Called while that step is open, it says that the far end was asked and does not offer it, for instance `tls` where that
        is only preferred; otherwise, that the connection's settings do not ask for it. A skipped step `tls` means that the
        connection is not encrypted, and the report says so.
        """

    def report_tls(self, *, verified: bool) -> None:
        """Report that the connection is encrypted, once the handshake is done.

        `open`, `http` and `toolkit.request_tls` do this for you. Where your driver does TLS, ask it what it agreed on; do not
        repeat what was wished. Of several connections in one test, the report shows the weakest.

        Args:
            verified: whether the server's certificate was verified. `toolkit.is_verified` tells it of Python's TLS sockets.
        """
        del verified  # a context that somebody wrote for their own tests need not keep it

    def cleartext_refusal(self) -> CheckFailed | None:
        """What to raise where the server demands the password itself, or a form that gives it away; `None` where it may be sent.

        It may be sent through TLS with a verified certificate, and, where the deployer allows that, through any TLS. What counts
        is what was reported since the last call of `connect`: a step `tls` that was skipped, or `report_tls`.

        Returns:
            `None`, or `insecure_auth_refused`, with a remedy that names `ssl_mode` where there is TLS.
        """
        raise NotImplementedError

    @abstractmethod
    def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """Resolve `host` once and vet every address, as the step `resolve`.

        Returns the addresses to connect to, at least one. Python code may resolve the name again: it gets these addresses and no
        others. Everything else that Python code connects to must come from the context, or from `socket.getaddrinfo` under a
        name; an address as such is refused. Native drivers must be given addresses, because nothing stops them.

        Raises:
            CheckFailed: `dns_failed`, or `address_not_allowed` by the deployer's egress policy.
        """

    def vet(self, host: str, port: int | None = None) -> None:
        """Have the deployer's egress policy refuse `host` by its name alone, without looking it up.

        For a name that is not connected to itself and stands for others: that of a service record, say. What `resolve` and
        `connect` are given needs no vetting before.

        Args:
            port: to connect to; `None` while it is not known, and then rules for ports refuse nothing.

        Raises:
            CheckFailed: `address_not_allowed`.
        """
        raise NotImplementedError

    @abstractmethod
    def connect(self, host: str, port: int) -> tuple[socket.socket, Address]:
        """Resolve, then open a TCP connection to the first address that accepts, as the steps `resolve` and `connect`.

        The socket's timeout is `timeout`. The caller closes it.

        Raises:
            CheckFailed: as `resolve`, or `connect_refused`, or `connect_timeout`.
        """

    def open(
        self,
        host: str,
        port: int,
        *,
        tls: SslMode = SslMode.DISABLED,
        ca: str | None = None,
        untrusted: str | None = None,
    ) -> AbstractContextManager[Link]:
        """Connect, with TLS from the first byte or with none, as the steps `resolve`, `connect` and `tls`.

        Args:
            host: name or address; also the name that the certificate must be for, with `verify-full`.
            port: TCP port.
            tls: `disabled` reports the step `tls` as skipped. `preferred` means `required` here: a protocol that starts with
                TLS has nothing to fall back to. Default: `disabled`.
            ca: PEM certificates to trust instead of the machine's. Default: the machine's.
            untrusted: what to say where the certificate is not accepted, as `CheckFailed.remedy`. Default: the standard
                sentence, which speaks of a CA certificate in the secrets.

        Raises:
            CheckFailed: as `connect`, or `tls_failed`, `tls_untrusted`, `protocol_mismatch` or `timeout` at the step `tls`.
        """
        raise NotImplementedError

    def http(self, url: str, *, ca: str | None = None) -> AbstractContextManager[HttpClient]:
        """Connect to the origin of `url`, as the steps `resolve`, `connect` and `tls`, and give an HTTP client for it.

        The client connects to vetted addresses only, follows no redirect, takes nothing from the environment, and reads at
        most 4 MiB of an answer. It needs httpx: let your distribution require `connectory[http]`.

        Args:
            url: `https://…`, or `http://…` where secrets may travel in clear; requests may name paths below it.
            ca: PEM certificates to trust instead of the machine's. Default: the machine's.

        Raises:
            CheckFailed: as `open`.
            ValueError: `url` is not an http or https url with a host.
        """
        raise NotImplementedError

    @abstractmethod
    def settings(self, model: type[SettingsT]) -> SettingsT:
        """The deployer's values for the settings that this plugin declares with `connectory_settings`."""

    @property
    @abstractmethod
    def tokens(self) -> Mapping[str, Any] | None:
        """What an earlier run for the same connection and the same secrets handed to `store_tokens`, or `None`.

        Whatever is there may have expired or been revoked since.
        """

    @abstractmethod
    def store_tokens(self, tokens: Mapping[str, Any]) -> None:
        """Hand over tokens that were obtained for the connection: they replace those stored, and are kept sealed like secrets.

        They are kept however the run ends afterwards, so that a renewed refresh token is not lost with a failed test. They
        are shown to nobody, and forgotten when the secrets change. Also changes what `tokens` returns.

        Args:
            tokens: JSON values under names of the plugin's own; at most 32 KiB as JSON.

        Raises:
            ValueError: they are larger, or no JSON.
        """
