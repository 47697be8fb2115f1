"""The `CheckContext` that a test sees inside its process: deadline, streamed steps, vetted addresses."""

from __future__ import annotations

import errno
import json
import math
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connectory.checks.addresses import AddressDenied, VettedAddresses
from connectory.contract.check import Address, CheckContext, CheckFailed, FailureCode, Failures
from connectory.contract.settings import SettingsT

STEP_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
STEP_LIMIT = 64
"""Steps that one test may report."""
TOKENS_LIMIT = 2**15
"""Bytes of the tokens, as JSON, that a run may hand over."""
TIMEOUT_CODES = {"resolve": FailureCode.DNS_TIMEOUT, "connect": FailureCode.CONNECT_TIMEOUT}
"""What running out of time in a step is called; in any other step, or none, it is `timeout`."""

_MARGIN = 1.0
"""Seconds between the end of the drivers' time and the kill: a driver's own time-out says more than a kill does."""
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


class ChildContext(CheckContext):
    """What one test may use.

    Args:
        killed_at: when the test will be killed, on `time.monotonic()`, which Linux counts alike for every process.
        addresses: name resolution under the deployer's egress policy.
        settings: JSON values of the deployer's settings for the connector.
        emit: sends one event to the runner.
        tokens: what an earlier run handed over. Default: nothing.

    Attributes:
        has_stored_tokens: whether this run has handed over any.
    """

    def __init__(
        self,
        *,
        killed_at: float,
        addresses: VettedAddresses,
        settings: dict[str, Any],
        emit: Callable[[dict[str, Any]], None],
        tokens: Mapping[str, Any] | None = None,
    ) -> None:
        self._killed_at = killed_at
        self._addresses = addresses
        self._settings = settings
        self._emit = emit
        self._tokens = tokens
        self._token_texts = _texts(tokens or {})
        self.has_stored_tokens = False
        self._count = 0
        self._open: str | None = None
        self._failed: str | None = None

    @property
    def timeout(self) -> float:
        return max(0.1, self._killed_at - _MARGIN - time.monotonic())

    @property
    def timeout_code(self) -> FailureCode:
        """The code for a time-out that ends the test now, by the step it happened in."""
        return TIMEOUT_CODES.get(self._open or self._failed or "", FailureCode.TIMEOUT)

    @contextmanager
    def step(self, name: str, failures: Failures | None = None) -> Iterator[None]:
        self._admit(name)
        self._end_step("passed")
        self._open, self._failed = name, None
        opened = self._count
        self._emit({"event": "step", "name": name, "at": time.monotonic()})
        try:
            yield
        except BaseException as error:
            if self._open is not None and self._count == opened:
                blames_another = isinstance(error, CheckFailed) and error.step not in {None, name}
                self._end_step("passed" if blames_another else "failed")
                self._failed = None if blames_another else name
            raise
        if self._count == opened:
            self._end_step("passed")

    def skip_step(self, name: str) -> None:
        self._admit(name)
        self._end_step("passed")
        self._emit({"event": "skip", "name": name})

    def _admit(self, name: str) -> None:
        if not STEP_NAME.fullmatch(name):
            raise ValueError("a step's name must match ^[a-z][a-z0-9_]{0,39}$")
        self._count += 1
        if self._count > STEP_LIMIT:
            raise ValueError(f"a test may report {STEP_LIMIT} steps")

    def _end_step(self, status: str) -> None:
        if self._open is not None:
            self._open = None
            self._emit({"event": "end", "status": status, "at": time.monotonic()})

    def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        with self.step("resolve"):
            try:
                ips = self._addresses.of(host)
            except AddressDenied as error:
                raise CheckFailed(FailureCode.ADDRESS_NOT_ALLOWED) from error
            except OSError as error:
                raise CheckFailed(FailureCode.DNS_FAILED) from error
            self._addresses.admit(ips, port)
            return tuple(Address(ip, port) for ip in ips)

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
                    if error.errno in _OUT_OF_RESOURCES or isinstance(error, AddressDenied):
                        raise
                else:
                    connection.settimeout(self.timeout)
                    return connection, address
            raise CheckFailed(failure)

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
            size = len(json.dumps(handed_over, allow_nan=False))
        except TypeError as error:
            raise ValueError("tokens must be JSON values under names") from error
        if size > TOKENS_LIMIT:
            raise ValueError(f"tokens may have {TOKENS_LIMIT} bytes as JSON")
        self._tokens = handed_over
        self._token_texts += _texts(handed_over)
        self.has_stored_tokens = True
        self._emit({"event": "tokens", "tokens": handed_over})


def _texts(tokens: Mapping[str, Any]) -> list[str]:
    return [value for value in tokens.values() if isinstance(value, str)]


def seconds(value: float | None) -> float | None:
    """`retry_after` as the runner takes it: finite, not negative."""
    return value if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None
