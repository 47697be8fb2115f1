"""The addresses that one test may connect to: each host looked up once, vetted as a whole, and nothing else let through."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - the first look-up of a name would import it, in every test anew
import errno
import ipaddress
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from connectory.checks.egress import EgressPolicy
from connectory.checks.egress_rules import rule_name

_lookup = socket.getaddrinfo
DNS_PORT = 53
"""TCP and UDP port of name servers."""
_RESOLVER_SETTINGS = Path("/etc/resolv.conf")


class AddressDenied(PermissionError):
    """A connection, or a host, that the egress policy does not allow."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "The egress policy does not allow this address.")


class Found(NamedTuple):
    """What a host resolved to.

    Attributes:
        ips: its addresses, at least one.
        canonical: the name that has them, as `rule_name` gives it: that at the end of the aliases (CNAME), with the domain that
            the resolver added. Empty for an address.
    """

    ips: tuple[str, ...]
    canonical: str


class VettedAddresses:
    """Name resolution under an egress policy, and what it has let through.

    Args:
        policy: where the process may connect.
        on_denial: called at the first denial.
        resolver: gives the addresses of a host. Default: the one of this process.

    Attributes:
        denied: whether anything was denied so far. Drivers may hide the exception that says so.
    """

    def __init__(
        self, policy: EgressPolicy, on_denial: Callable[[], None], resolver: Callable[[str], Found] | None = None
    ) -> None:
        self.denied = False
        self._policy = policy
        self._on_denial = on_denial
        self._look_up = resolver or look_up
        self._answers: dict[str, Found | OSError] = {}
        self._admitted: set[tuple[str, int]] = set()

    def of(self, host: str, port: int | None) -> tuple[str, ...]:
        """The addresses of `host`, at least one. An address is its own; a name is looked up the first time only.

        Args:
            port: to connect to; `None` while it is not known.

        Raises:
            AddressDenied: the host, or at least one of the addresses, is not allowed.
            OSError: there is none.
        """
        name = self.vet(host, port)  # before anybody is asked about it
        found = self._found(host.lower())
        if self._policy.denial_of(found.canonical, port) is not None:
            self.deny()
        if not all(self._policy.decide(ip, port, name).allowed for ip in found.ips):
            self.deny()
        return found.ips

    def vet(self, host: str, port: int | None) -> str:
        """The name of `host` as rules know it, where none of them denies it.

        Args:
            port: to connect to; `None` while it is not known.

        Raises:
            AddressDenied: the name is not allowed.
            OSError: no resolver takes it for a name.
        """
        name = name_of(host)
        if self._policy.denial_of(name, port) is not None:
            self.deny()
        return name

    def _found(self, host: str) -> Found:
        if host not in self._answers:
            try:
                self._answers[host] = self._look_up(host)
            except OSError as error:
                self._answers[host] = error
        answer = self._answers[host]
        if isinstance(answer, OSError):
            raise answer
        return answer

    def name_of_address(self, ip: str) -> str:
        """The host that `ip` was looked up for, as rules know it; empty where none was."""
        for host, found in self._answers.items():
            if isinstance(found, Found) and found.canonical and ip in found.ips:
                return name_of(host)
        return ""

    def admit(self, ips: Iterable[str], port: int) -> None:
        """Let connections to `port` of `ips`, which must come from `of`, through."""
        self._admitted |= {(_plain(ip), port) for ip in ips}

    def deny(self) -> None:
        """Note a denial and raise `AddressDenied`."""
        if not self.denied:
            self.denied = True
            self._on_denial()
        raise AddressDenied

    def enforce(self) -> None:
        """From now on, for good: refuse Python code of this process any connection that was not admitted.

        Native code is not covered; it has to be given addresses, not names.
        """
        global _in_force  # noqa: PLW0603 - `socket.getaddrinfo` is one for the process, and so is this
        _in_force = self
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"} and arguments[1] is not None:
            self._check(arguments[0].family, arguments[1])

    def _check(self, family: int, address: Any) -> None:
        if family not in {socket.AF_INET, socket.AF_INET6} or not isinstance(address, tuple) or len(address) < 2:
            self.deny()
        ip, port = _plain(str(address[0])), address[1]
        if (ip, port) not in self._admitted and not (port == DNS_PORT and ip in nameservers()):
            self.deny()

    def entries(self, host: str, port: Any, family: int, kind: int, protocol: int, flags: int) -> list[Any]:
        """What `socket.getaddrinfo` answers a driver: the vetted addresses, admitted for the port it asks for.

        A literal address is answered too, but not admitted: a far end that names other servers for the driver to go to
        must not choose where in the network that is. A connector admits it through its context.
        """
        found: list[Any] = []
        for ip in self.of(host, None):
            with suppress(socket.gaierror):  # not of the family that was asked for
                found += _lookup(ip, port, family, kind, protocol, flags | socket.AI_NUMERICHOST)
        if not found:
            raise _no_such_host()
        for number in {int(entry[4][1]) for entry in found} - {0}:  # 0: it did not say which
            ips = self.of(host, number)
            if _literal(host) is None:
                self.admit(ips, number)
        return found


_in_force: VettedAddresses | None = None


def _vetted_getaddrinfo(
    host: Any,
    port: Any,
    family: int = 0,
    type: int = 0,  # noqa: A002 - drivers pass it by this name
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    if _in_force is None or host is None:
        return _lookup(host, port, family, type, proto, flags)
    name = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
    return _in_force.entries(name, port, family, type, proto, flags)


def replace_getaddrinfo() -> None:
    """Have Python code of this process resolve names under the policy in force, once one is.

    Must come before drivers are imported: they may keep the function that they find.
    """
    socket.getaddrinfo = _vetted_getaddrinfo


def look_up(host: str) -> Found:
    """The addresses of `host`, from the system's resolver, however long that takes. An address is its own.

    Raises:
        OSError: there is none.
    """
    literal = _literal(host)
    if literal is not None:
        return Found((literal,), "")
    try:
        entries = _lookup(host, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        canonical = next((rule_name(str(entry[3])) for entry in entries if entry[3]), "")
    except ValueError:  # a label that is too long, or a NUL
        raise _no_such_host() from None
    if not entries:
        raise _no_such_host()
    return Found(tuple(dict.fromkeys(str(entry[4][0]) for entry in entries)), canonical)


def name_of(host: str) -> str:
    """The name of `host` as rules know it; none, "", where it is an address.

    Raises:
        OSError: no resolver takes it for a name.
    """
    try:
        return rule_name(host) if _literal(host) is None else ""
    except UnicodeError:
        raise _no_such_host() from None


def _no_such_host() -> socket.gaierror:
    return socket.gaierror(socket.EAI_NONAME, "The host has no address.")


def _literal(host: str) -> str | None:
    """`host` as an address, where it is one, bracketed or not, in any spelling that the resolver takes, like 0x7f.1."""
    unbracketed = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    with suppress(ValueError):
        return str(ipaddress.ip_address(unbracketed))
    with suppress(OSError, ValueError):
        return str(_lookup(host, None, flags=socket.AI_NUMERICHOST)[0][4][0])
    return None


def _plain(ip: str) -> str:
    """One spelling for each address: no zone, and IPv4 as such even where a socket says it in IPv6."""
    with suppress(ValueError):
        address = ipaddress.ip_address(ip.partition("%")[0])
        return str(getattr(address, "ipv4_mapped", None) or address)
    return ip


def nameservers() -> set[str]:
    """The system's resolvers, which drivers that ask the DNS themselves talk to (resolv.conf(5))."""
    with suppress(OSError), _RESOLVER_SETTINGS.open(encoding="utf-8", errors="replace") as lines:
        found = {words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver"}
        return {_plain(ip) for ip in found} or {"127.0.0.1"}
    return {"127.0.0.1"}
