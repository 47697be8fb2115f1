"""Why a connection test failed, and how a connector says so."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


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
        member.reason = member.__doc__ = reason
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


# So that help() tells of each.
FailureCode.__doc__ = (FailureCode.__doc__ or "") + "\n".join(
    ["", "Codes:", *(f"    {code}: {code.reason}" for code in FailureCode)]
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
