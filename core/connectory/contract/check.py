"""The connection check: what a plugin receives, what it may raise, and the closed set of failure codes."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, NamedTuple

from connectory.contract.settings import SettingsT


class FailureCode(StrEnum):
    """Why a connection test failed. The set is closed: consumers may switch on it."""

    SECRETS_MISSING = "secrets_missing"
    SECRETS_UNREADABLE = "secrets_unreadable"
    CONNECTOR_UNAVAILABLE = "connector_unavailable"
    DRIVER_MISSING = "driver_missing"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    DNS_FAILED = "dns_failed"
    DNS_TIMEOUT = "dns_timeout"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    PROTOCOL_MISMATCH = "protocol_mismatch"
    TLS_FAILED = "tls_failed"
    TLS_UNTRUSTED = "tls_untrusted"
    AUTH_FAILED = "auth_failed"
    INSECURE_AUTH_REFUSED = "insecure_auth_refused"
    DATABASE_NOT_FOUND = "database_not_found"
    SCHEMA_NOT_FOUND = "schema_not_found"
    PERMISSION_DENIED = "permission_denied"
    QUERY_FAILED = "query_failed"
    UNEXPECTED_REDIRECT = "unexpected_redirect"
    RATE_LIMITED = "rate_limited"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    TIMEOUT = "timeout"
    RESOURCE_LIMIT = "resource_limit"
    CRASHED = "crashed"
    INTERNAL_DRIVER_ERROR = "internal_driver_error"


FAILURE_REASONS: dict[FailureCode, str] = {
    FailureCode.SECRETS_MISSING: "No secrets are stored for this connection; set them with PUT /connection/{key}/secret.",
    FailureCode.SECRETS_UNREADABLE: (
        "The stored secrets cannot be opened with the configured keys; "
        "send a complete set with PUT /connection/{key}/secret, or restore the key."
    ),
    FailureCode.CONNECTOR_UNAVAILABLE: "The connector of this connection is not installed or did not load.",
    FailureCode.DRIVER_MISSING: "The connector is installed, but the driver it needs cannot be imported.",
    FailureCode.ADDRESS_NOT_ALLOWED: (
        "The host resolves to an address that this service may not connect to; "
        "its operator can change CONNECTORY_EGRESS_ALLOW_LOOPBACK or CONNECTORY_EGRESS_DENY."
    ),
    FailureCode.DNS_FAILED: "The host name could not be resolved; check its spelling and the service's DNS.",
    FailureCode.DNS_TIMEOUT: "Resolving the host name took too long; check the service's DNS.",
    FailureCode.CONNECT_REFUSED: "The host refused the connection; check host and port, and that the server is running.",
    FailureCode.CONNECT_TIMEOUT: "The host did not accept a connection in time; check host, port and firewalls.",
    FailureCode.PROTOCOL_MISMATCH: "Something else than the expected server answers there; check host and port.",
    FailureCode.TLS_FAILED: "An encrypted connection could not be set up; check whether the server offers TLS.",
    FailureCode.TLS_UNTRUSTED: (
        "The server's certificate was not accepted; check the host name and the CA certificate in the secrets."
    ),
    FailureCode.AUTH_FAILED: "The server rejected the credentials; check user name and password.",
    FailureCode.INSECURE_AUTH_REFUSED: (
        "The server asked for the password over an unencrypted connection, so it was not sent; "
        "enable TLS, or a challenge-response login, on the server."
    ),
    FailureCode.DATABASE_NOT_FOUND: "The login was accepted, but the database does not exist.",
    FailureCode.SCHEMA_NOT_FOUND: "The database was opened, but the schema does not exist.",
    FailureCode.PERMISSION_DENIED: "The login was accepted, but it lacks the permission that is needed.",
    FailureCode.QUERY_FAILED: "The login was accepted, but the server failed to answer a trivial request.",
    FailureCode.UNEXPECTED_REDIRECT: "The service answered with a redirect, which is not followed; check the domain.",
    FailureCode.RATE_LIMITED: "The service refuses further requests for now; try again later.",
    FailureCode.HTTP_4XX: "The service rejected the request; check the domain and the account.",
    FailureCode.HTTP_5XX: "The service answered with an error of its own; try again later.",
    FailureCode.TIMEOUT: "The server stopped answering, and the test was ended at its deadline.",
    FailureCode.RESOURCE_LIMIT: "The server sent more than a test may take, and the test was ended.",
    FailureCode.CRASHED: "The driver crashed during the test; the service itself is not affected.",
    FailureCode.INTERNAL_DRIVER_ERROR: "The driver failed in an unexpected way; the service's log names the error type.",
}
"""Our own sentence for each code: what happened, and what to do. Never the server's or the driver's text."""


class CheckFailed(Exception):
    """Raised by `connectory_test_connection` when the connection does not work.

    Args:
        code: one of `FailureCode`.
        step: the step that failed; by default the step that is open, else the last one.
        remedy: a sentence of the plugin's own that replaces the standard one. Must be a constant: never put a
            value from the secrets or text from the server or driver into it. `{key}` in it is replaced by the
            connection's key.
        retry_after: seconds the far end asked to wait, for `rate_limited`.
    """

    def __init__(
        self, code: FailureCode, *, step: str | None = None, remedy: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.step = step
        self.remedy = remedy
        self.retry_after = retry_after


class CheckSkipped(Exception):
    """Raised by `connectory_test_connection` when there is nothing to connect to."""


class Address(NamedTuple):
    """One vetted network address: `ip` as text (no brackets), and the TCP `port`."""

    ip: str
    port: int


class CheckContext(ABC):
    """What a test may use of the service that runs it. One instance lives for one test."""

    @property
    @abstractmethod
    def timeout(self) -> float:
        """Seconds that a driver call may still take, at least 0.1. Ends one second before the test is killed."""

    @abstractmethod
    def step(self, name: str) -> AbstractContextManager[None]:
        """Report what happens inside as the step `name`: `resolve`, `connect`, `tls`, `authenticate`, `query`, …

        A step that ends without an exception has passed. Steps do not nest: opening one ends the one before it.
        """

    @abstractmethod
    def skip_step(self, name: str) -> None:
        """Report that the step `name` was not taken, for instance `tls` where the server offers none."""

    @abstractmethod
    def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """Resolve `host` once and vet every address, as the step `resolve`.

        Returns the addresses to connect to, at least one. The driver must be given these, not the name.

        Raises:
            CheckFailed: `dns_failed`, or `address_not_allowed` by the deployer's egress policy.
        """

    @abstractmethod
    def connect(self, host: str, port: int) -> tuple[socket.socket, Address]:
        """Resolve, then open a TCP connection to the first address that accepts, as the steps `resolve` and `connect`.

        The socket's timeout is `timeout`. The caller closes it.

        Raises:
            CheckFailed: as `resolve`, or `connect_refused`, or `connect_timeout`.
        """

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


def reason_for(code: FailureCode, *, key: str | None = None) -> str:
    """The standard sentence for `code`, with the connection's `key` filled in where it is known."""
    sentence = FAILURE_REASONS[code]
    return sentence.replace("{key}", key) if key is not None else sentence
