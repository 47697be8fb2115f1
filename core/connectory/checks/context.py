"""The `CheckContext` that a test sees inside its process: deadline, streamed steps, vetted addresses."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

from connectory.checks.addresses import AddressDenied, VettedAddresses
from connectory.checks.failures import OUT_OF_RESOURCES, timeout_code, translated
from connectory.checks.protocol import (
    STEP_LIMIT,
    Event,
    StepBegan,
    StepEnded,
    StepSkipped,
    TlsAgreed,
    TokensStored,
)
from connectory.checks.wire import ProtocolViolation
from connectory.contract.check import (
    UNVERIFIED_CLEARTEXT,
    Address,
    CheckContext,
    CheckFailed,
    ErrorT,
    FailureCode,
    Failures,
    Link,
)
from connectory.contract.settings import SettingsT
from connectory.contract.ssl_mode import SslMode
from connectory.toolkit.tls import encrypted, is_verified, system_certificates, tls_context

if TYPE_CHECKING:
    from connectory.toolkit.http import HttpClient

_MARGIN = 1.0
"""Seconds between the end of the drivers' time and the kill: a driver's own time-out says more than a kill does."""


def left_until(killed_at: float) -> float:
    """Seconds that a driver has until a kill at that time of `time.monotonic()`; a little where there are none."""
    return max(0.1, killed_at - _MARGIN - time.monotonic())


class ChildContext(CheckContext):
    """What one test may use.

    Args:
        killed_at: when the test will be killed, on `time.monotonic()`, which Linux counts alike for every process.
        addresses: name resolution under the deployer's egress policy.
        settings: JSON values of the deployer's settings for the connector.
        emit: sends one event to the service.
        tokens: what an earlier run handed over. Default: nothing.
        cleartext_unverified: whether a password may travel in clear through TLS whose certificate was not verified. Default: no.

    Attributes:
        has_stored_tokens: whether this run has handed over any.
    """

    def __init__(
        self,
        *,
        killed_at: float,
        addresses: VettedAddresses,
        settings: Mapping[str, Any],
        emit: Callable[[Event], None],
        tokens: Mapping[str, Any] | None = None,
        cleartext_unverified: bool = False,
    ) -> None:
        self._killed_at = killed_at
        self._addresses = addresses
        self._settings = settings
        self._emit = emit
        self._tokens = tokens
        self._token_texts = _texts(tokens or {})
        self.has_stored_tokens = False
        self._cleartext_unverified = cleartext_unverified
        self._tls: Literal["none", "unverified", "verified"] = "none"
        self._count = 0
        self._open: str | None = None
        self._failed: str | None = None

    @property
    def timeout(self) -> float:
        return left_until(self._killed_at)

    @property
    def timeout_code(self) -> FailureCode:
        """The code for a time-out that ends the test now, by the step it happened in."""
        return timeout_code(self._open or self._failed)

    @contextmanager
    def step(
        self, name: str, failures: Mapping[type[ErrorT], FailureCode | CheckFailed] | None = None
    ) -> Iterator[None]:
        self._begin_step(name)
        begun = self._count
        try:
            yield
        except BaseException as error:
            if self._count != begun:  # another step began since, and this is that one's failure
                raise
            failure = translated(error, cast("Failures", failures or {}))
            self._fail_step(name, failure or error)
            if failure is None:
                raise
            raise failure from error
        if self._count == begun:
            self._end_step("passed")

    def _begin_step(self, name: str) -> None:
        began = _made(StepBegan, name, time.monotonic())
        self._count_step()
        self._end_step("passed")
        self._open, self._failed = name, None
        self._emit(began)

    def _fail_step(self, name: str, error: BaseException) -> None:
        if self._open is None:
            return
        blames_another = isinstance(error, CheckFailed) and error.step not in {None, name}
        self._end_step("passed" if blames_another else "failed")
        self._failed = None if blames_another else name

    def skip_step(self, name: str) -> None:
        skipped = _made(StepSkipped, name)
        if self._open == name:  # the far end was asked, and the event ends this very step
            self._open = None
        else:
            self._count_step()
            self._end_step("passed")
        self._emit(skipped)
        if name == "tls":
            self._tls = "none"

    def report_tls(self, *, verified: bool) -> None:
        self._emit(_made(TlsAgreed, verified))
        self._tls = "verified" if verified else "unverified"

    def cleartext_refusal(self) -> CheckFailed | None:
        if self._tls == "verified" or (self._tls == "unverified" and self._cleartext_unverified):
            return None
        remedy = None if self._tls == "none" else UNVERIFIED_CLEARTEXT
        return CheckFailed(FailureCode.INSECURE_AUTH_REFUSED, remedy=remedy)

    def _count_step(self) -> None:
        self._count += 1
        if self._count > STEP_LIMIT:
            raise ValueError(f"a test may report {STEP_LIMIT} steps")

    def _end_step(self, status: Literal["passed", "failed"]) -> None:
        if self._open is not None:
            self._open = None
            self._emit(StepEnded(status, time.monotonic()))

    def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        with self.step("resolve"):
            try:
                ips = self._addresses.of(host, port)
            except AddressDenied as error:
                raise CheckFailed(FailureCode.ADDRESS_NOT_ALLOWED) from error
            except OSError as error:
                raise CheckFailed(FailureCode.DNS_FAILED) from error
            self._addresses.admit(ips, port)
            return tuple(Address(ip, port) for ip in ips)

    def vet(self, host: str, port: int | None = None) -> None:
        try:
            self._addresses.vet(host, port)
        except AddressDenied as error:
            raise CheckFailed(FailureCode.ADDRESS_NOT_ALLOWED) from error
        except OSError as error:
            raise CheckFailed(FailureCode.DNS_FAILED) from error

    def connect(self, host: str, port: int) -> tuple[socket.socket, Address]:
        addresses = self.resolve(host, port)
        with self.step("connect"):
            failure = FailureCode.CONNECT_REFUSED
            for number, address in enumerate(addresses):
                share = self.timeout / (len(addresses) - number)
                try:
                    connection = socket.create_connection(address, timeout=share)
                except TimeoutError:
                    failure = FailureCode.CONNECT_TIMEOUT
                except OSError as error:
                    if error.errno in OUT_OF_RESOURCES or isinstance(error, AddressDenied):
                        raise
                else:
                    connection.settimeout(self.timeout)
                    self._tls = "none"
                    return connection, address
            raise CheckFailed(failure)

    @contextmanager
    def open(
        self,
        host: str,
        port: int,
        *,
        tls: SslMode = SslMode.DISABLED,
        ca: str | None = None,
        untrusted: str | None = None,
    ) -> Iterator[Link]:
        connection, address = self.connect(host, port)
        settings = None
        try:
            if tls is SslMode.DISABLED:
                self.skip_step("tls")
            else:
                with self.step("tls"):
                    settings = tls_context(tls, ca)
                    connection = secured = encrypted(connection, settings, host, untrusted)
                    self.report_tls(verified=is_verified(secured))
                connection.settimeout(self.timeout)
            verifying = (system_certificates() if ca is None else ca) if tls.verifies else None
            yield Link(host, address, connection, settings, verifying)
        finally:
            connection.close()

    @contextmanager
    def http(self, url: str, *, ca: str | None = None) -> Iterator[HttpClient]:
        from connectory.toolkit.http import HttpClient

        with HttpClient(self, url, ca=ca) as client:
            client.connect(url)
            yield client

    def settings(self, model: type[SettingsT]) -> SettingsT:
        return model.model_validate(self._settings)

    @property
    def tokens(self) -> Mapping[str, Any] | None:
        return self._tokens

    @property
    def token_texts(self) -> list[str]:
        """The texts among the tokens, those before and those since, which nothing may show."""
        return self._token_texts

    def store_tokens(self, tokens: Mapping[str, Any]) -> None:
        try:
            handed_over = dict(tokens)
        except TypeError as error:
            raise ValueError("tokens must be JSON values under names") from error
        stored = _made(TokensStored, handed_over)
        self._tokens = handed_over
        self._token_texts += _texts(handed_over)
        self.has_stored_tokens = True
        self._emit(stored)


def _texts(tokens: Mapping[str, Any]) -> list[str]:
    return [value for value in tokens.values() if isinstance(value, str)]


_Arguments = ParamSpec("_Arguments")
_EventT = TypeVar("_EventT")


def _made(event: Callable[_Arguments, _EventT], *given: _Arguments.args, **named: _Arguments.kwargs) -> _EventT:
    """An event that the connector decides on: what breaks the protocol's rules is to the connector a plain `ValueError`."""
    try:
        return event(*given, **named)
    except ProtocolViolation as violation:
        raise ValueError(str(violation)) from None
