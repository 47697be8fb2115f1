"""The connection check: what a plugin receives. What it may raise is in `connectory.contract.failure`, and here too."""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from connectory.contract.failure import (
    UNVERIFIED_CLEARTEXT,
    WAIT_LIMIT,
    CheckFailed,
    CheckSkipped,
    ErrorT,
    FailureCode,
    Failures,
)
from connectory.contract.settings import SettingsT
from connectory.contract.ssl_mode import SslMode

if TYPE_CHECKING:
    from connectory.toolkit.http import HttpClient

__all__ = [
    "UNVERIFIED_CLEARTEXT",
    "WAIT_LIMIT",
    "Address",
    "CheckContext",
    "CheckFailed",
    "CheckSkipped",
    "ErrorT",
    "FailureCode",
    "Failures",
    "Link",
]


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
        """Seconds that a driver call may still take, at least 0.1, as a float. Ends one second before the test is killed.

        It counts down over the whole test, so read it again before each call that takes a timeout. For a driver that takes whole
        seconds round up, as `math.ceil` does: rounded down, it would give up before its time.
        """

    @abstractmethod
    def step(
        self, name: str, failures: Mapping[type[ErrorT], FailureCode | CheckFailed] | None = None
    ) -> AbstractContextManager[None]:
        """Report what happens inside as the step `name`. User interfaces know `resolve`, `connect`, `tls`, `authenticate` and
        `query`; the set is open, so that a step of another kind may have a name of its own.

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
