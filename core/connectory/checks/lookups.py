"""Names looked up in a process of their own, since a test's has no datagrams: whatever takes it over must have none to send.

The C library asks the DNS by UDP, in the process that calls it. A test therefore does itself what needs no network (/etc/hosts),
and asks the service for the rest, on its line. The service has a fork of what the test was forked from look that one name up. It
has no secret to lose: an answer of the DNS that takes it over can lie about this name, as it could anyway, and the test vets what
it is told.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from connectory.checks.addresses import DNS_PORT, Found, look_up
from connectory.checks.confinement import Confinement
from connectory.checks.linux import die_with_parent, hide_memory, leave_parent_behind
from connectory.checks.wire import Maker, decoded, encoded, is_whole, plain, require

HOST_LIMIT = 255
"""Characters of a name; the DNS has none that is longer."""
ANSWER_LIMIT = 2**13
"""Bytes of an answer: the name that the aliases end at, and as many addresses as are taken."""
_MOST = 64
"""Addresses of one name; of more the first are taken, and those alone are connected to."""
_ADDRESS_LIMIT = 50
_MEMORY = 64 * 2**20


@dataclass(frozen=True)
class LookUp:
    """Look up the addresses of `host`."""

    host: str

    def __post_init__(self) -> None:
        require(isinstance(self.host, str) and len(self.host) <= HOST_LIMIT, "a host has a name")


@dataclass(frozen=True)
class Resolved:
    """What it resolved to, as `Found` has it."""

    ips: tuple[str, ...]
    canonical: str

    def __post_init__(self) -> None:
        ips = self.ips
        are_short = isinstance(ips, tuple) and all(isinstance(ip, str) and len(ip) <= _ADDRESS_LIMIT for ip in ips)
        require(are_short and 1 <= len(ips) <= _MOST, "a name has some addresses, and an address is a short text")
        require(isinstance(self.canonical, str) and len(self.canonical) <= HOST_LIMIT, "a host has a name")


@dataclass(frozen=True)
class Unresolved:
    """It did not: the resolver's number of the error, which is negative, or the system's."""

    error: int

    def __post_init__(self) -> None:
        require(is_whole(self.error) and abs(self.error) < 2**12, "an error has a number")

    @property
    def exception(self) -> OSError:
        """As a look-up in this process would have raised it."""
        if self.error < 0:
            return socket.gaierror(self.error, "The host has no address.")
        return OSError(self.error, os.strerror(self.error))


Answer: TypeAlias = Resolved | Unresolved


def encode_answer(answer: Answer) -> bytes:
    """`answer` as one message."""
    return encoded("answer", {Resolved: "resolved", Unresolved: "unresolved"}, answer)


def decode_answer(data: bytes) -> Answer:
    """The answer in `data`.

    Raises:
        ProtocolViolation: there is none.
    """
    return decoded("answer", _ANSWERS, data)


def _resolved(members: dict[str, Any]) -> Resolved:
    require(isinstance(members.get("ips"), list), "addresses are a list")
    return plain(Resolved)(members | {"ips": tuple(members["ips"])})


_ANSWERS: dict[str, Maker[Answer]] = {"resolved": _resolved, "unresolved": plain(Unresolved)}


def run_lookup(parent: int, line: int, confinement: Confinement) -> NoReturn:
    """Look up one name in this process, which was forked for it, and end the process.

    Args:
        parent: the process id of the fork server.
        line: the descriptor that the name comes from, and the answer goes to.
        confinement: what to keep the process to.
    """
    try:
        leave_parent_behind(line)
        confining = confinement.begin()
        die_with_parent(parent)
        hide_memory()
        confining.complete(memory=_MEMORY, also_readable=(), ports=(DNS_PORT,), datagrams=True)
        with socket.socket(fileno=line) as service:
            service.send(encode_answer(_answer(service.recv(4 * HOST_LIMIT).decode())))
    finally:
        os._exit(0)


def _answer(host: str) -> Answer:
    try:
        found: Found = look_up(host)
    except OSError as error:
        return Unresolved(error.errno or socket.EAI_FAIL)
    return Resolved(found.ips[:_MOST], found.canonical)
