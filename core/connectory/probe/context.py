"""The `CheckContext` that a test sees, inside its child process."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from connectory.contract.check import Address, CheckContext, CheckFailed, FailureCode
from connectory.contract.settings import SettingsT
from connectory.probe.egress import EgressPolicy

TIMEOUT_CODES = {"resolve": FailureCode.DNS_TIMEOUT, "connect": FailureCode.CONNECT_TIMEOUT}
"""What running out of time in a step is called; in any other it is `timeout`."""

_getaddrinfo = socket.getaddrinfo
_MARGIN = 1.0
_DNS_PORT = 53


class EgressDenied(PermissionError):
    """A connection to an address that was not vetted was stopped."""


class ChildContext(CheckContext):
    """Deadline, steps and vetted name resolution for one test."""

    def __init__(
        self, *, deadline: float, policy: EgressPolicy, settings: dict[str, Any], emit: Callable[[dict[str, Any]], None]
    ) -> None:
        self._ends = time.monotonic() + deadline
        self._policy = policy
        self._settings = settings
        self._emit = emit
        self._answers: dict[str, list[tuple[int, str]]] = {}
        self._vetted: set[str] = set()
        self._nameservers = _nameservers()
        self._open: tuple[str, float] | None = None
        self.denied = False

    @property
    def timeout(self) -> float:
        return max(0.1, self._ends - time.monotonic() - _MARGIN)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._end_step("passed")
        self._open = (name, time.monotonic())
        self._emit({"event": "step", "name": name})
        yield
        self._end_step("passed")

    def skip_step(self, name: str) -> None:
        self._end_step("passed")
        self._emit({"event": "end", "name": name, "status": "skipped", "elapsed_ms": 0.0})

    @property
    def timeout_code(self) -> FailureCode:
        """The code for a time-out now, by the step that is open."""
        return TIMEOUT_CODES.get(self._open[0] if self._open else "", FailureCode.TIMEOUT)

    def fail_step(self, name: str | None) -> None:
        """Mark the step `name`, by default the open one, as failed."""
        if name is not None and (self._open is None or self._open[0] != name):
            self._end_step("passed")
            self._open = (name, time.monotonic())
        self._end_step("failed")

    def _end_step(self, status: str) -> None:
        if self._open is not None:
            name, started = self._open
            self._open = None
            elapsed = round((time.monotonic() - started) * 1000, 3)
            self._emit({"event": "end", "name": name, "status": status, "elapsed_ms": elapsed})

    def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        with self.step("resolve"):
            return tuple(Address(ip, port) for _, ip in self._lookup(host))

    def connect(self, host: str, port: int) -> tuple[socket.socket, Address]:
        addresses = self.resolve(host, port)
        with self.step("connect"):
            for number, address in enumerate(addresses):
                share = self.timeout / (len(addresses) - number)
                try:
                    connection = socket.create_connection(address, timeout=share)
                except TimeoutError:
                    failure = FailureCode.CONNECT_TIMEOUT
                except EgressDenied:
                    raise
                except OSError as error:
                    failure = (
                        FailureCode.CONNECT_TIMEOUT if error.errno == errno.ETIMEDOUT else FailureCode.CONNECT_REFUSED
                    )
                else:
                    connection.settimeout(self.timeout)
                    return connection, address
            raise CheckFailed(failure)

    def settings(self, model: type[SettingsT]) -> SettingsT:
        return model.model_validate(self._settings)

    def _lookup(self, host: str) -> list[tuple[int, str]]:
        """The family and address of everything `host` stands for, looked up once and vetted as a whole."""
        name = host.strip("[]").lower()
        if name not in self._answers:
            self._answers[name] = self._vet(name)
        return self._answers[name]

    def _vet(self, name: str) -> list[tuple[int, str]]:
        try:
            literal = ipaddress.ip_address(name)
            found = [(int(socket.AF_INET6 if literal.version == 6 else socket.AF_INET), str(literal))]
        except ValueError:
            try:
                answers = _getaddrinfo(name, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                raise CheckFailed(FailureCode.DNS_FAILED) from error
            found = list(dict.fromkeys((int(answer[0]), str(answer[4][0])) for answer in answers))
        if not found:
            raise CheckFailed(FailureCode.DNS_FAILED)
        if not all(self._policy.allows(ip) for _, ip in found):
            self.denied = True
            raise CheckFailed(FailureCode.ADDRESS_NOT_ALLOWED)
        self._vetted |= {ip for _, ip in found}
        return found

    def enforce(self) -> None:
        """From now on, refuse every connection of this process to an address that was not vetted."""
        sys.addaudithook(self._audit)
        socket.getaddrinfo = self._vetting_getaddrinfo

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in {"socket.connect", "socket.sendto"}:
            return
        connection, address = arguments[0], arguments[1]
        if connection.family not in {socket.AF_INET, socket.AF_INET6} or not isinstance(address, tuple):
            self._deny()
        ip, port = str(address[0]).partition("%")[0], address[1]
        with suppress(ValueError):
            ip = str(ipaddress.ip_address(ip))
        if ip not in self._vetted and not (port == _DNS_PORT and ip in self._nameservers):
            self._deny()

    def _deny(self) -> None:
        self.denied = True
        raise EgressDenied(errno.EACCES, "The address was not vetted.")

    def _vetting_getaddrinfo(self, host: Any, port: Any, family: int = 0, *more: Any, **named: Any) -> list[Any]:
        """What drivers call for `socket.getaddrinfo`: the same answer, once looked up and vetted, for every call."""
        kind = named.get("type", more[0] if more else 0) or socket.SOCK_STREAM
        protocol = named.get("proto", more[1] if len(more) > 1 else 0)
        family = named.get("family", family)
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if name is None or not isinstance(name, str):
            raise socket.gaierror(socket.EAI_NONAME, "No such host.")
        try:
            found = self._lookup(name)
        except CheckFailed as failure:
            if failure.code is FailureCode.ADDRESS_NOT_ALLOWED:
                raise EgressDenied(errno.EACCES, "The address is not allowed.") from None
            raise socket.gaierror(socket.EAI_NONAME, "No such host.") from None
        number = int(port) if port not in (None, "") and str(port).isdigit() else 0
        answers = []
        for address_family, ip in found:
            if family in (0, address_family):
                v6 = address_family == socket.AF_INET6
                endpoint: tuple[Any, ...] = (ip, number, 0, 0) if v6 else (ip, number)
                answers.append((socket.AddressFamily(address_family), socket.SocketKind(kind), protocol, "", endpoint))
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "No address of that family.")
        return answers


def _nameservers() -> frozenset[str]:
    with suppress(OSError), Path("/etc/resolv.conf").open(encoding="utf-8", errors="replace") as lines:
        return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver")
    return frozenset()
