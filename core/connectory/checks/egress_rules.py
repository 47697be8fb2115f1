"""The rules by which a deployer allows or denies connections: a target, with or without ports. Decision 0019 has the grammar."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TypeAlias

from connectory.contract.fields import HOSTNAME_PATTERN

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_ANYTHING = "*"
_NAT64_LENGTHS = (32, 40, 48, 56, 64, 96)  # RFC 6052 §2.2
_HOST = re.compile(rf"(?:\*\.)?{HOSTNAME_PATTERN}")
_NUMERIC = re.compile(r"[0-9a-fA-F:.]+(?:/[0-9]+)?")
_BRACKETED = re.compile(r"\[(?P<target>[^\[\]]*)\](?::(?P<ports>.*))?")
_PORTS = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class RuleInvalid(ValueError):
    """A text is not a rule. The message says why and does not repeat the text."""


@dataclass(frozen=True)
class Rule:
    """One rule. Without a network and without a host it is of everything.

    Attributes:
        text: as the deployer wrote it.
        network: whose addresses it is of.
        host: the name that it is of, in lower case; or, with `*.` before it, of the names below.
        ports: the TCP ports that it is of; `None` for all.
    """

    text: str
    network: IPNetwork | None
    host: str | None
    ports: range | None

    def is_of_port(self, port: int | None, *, unless_known: bool) -> bool:
        """Whether it is of `port`; of a port that is not known, what `unless_known` says."""
        if self.ports is None:
            return True
        return unless_known if port is None else port in self.ports

    def is_of_name(self, name: str) -> bool:
        """Whether it is of the host `name`, as `rule_name` gives it."""
        if self.host is None:
            return self.network is None
        return name.endswith(self.host[1:]) if self.host.startswith("*.") else name == self.host

    def is_of_address(self, address: IPAddress) -> bool:
        """Whether it is of `address`, whatever name leads there."""
        return address in self.network if self.network is not None else self.host is None


def parse_rule(text: str) -> Rule:
    """The rule that `text` writes.

    Raises:
        RuleInvalid: it writes none.
    """
    target, ports = _parts(text)
    found = _ports(ports) if ports is not None else None
    if target == _ANYTHING:
        return Rule(text, None, None, found)
    host = target.removesuffix(".")
    if _HOST.fullmatch(host):
        return Rule(text, None, host.lower(), found)
    if _NUMERIC.fullmatch(target):
        return Rule(text, _network(target), None, found)
    hint = "; IPv6 stands in brackets where a port follows" if text.count(":") > 1 else ""
    raise RuleInvalid(f"this is not a network, an address or a host{hint}")


def _parts(text: str) -> tuple[str, str | None]:
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed is not None:
        if ":" not in bracketed["target"]:
            raise RuleInvalid("brackets are for IPv6")
        return bracketed["target"], bracketed["ports"]
    if text.count(":") > 1:  # IPv6, which takes brackets where a port follows
        return text, None
    target, colon, ports = text.partition(":")
    return target, ports if colon else None


def _ports(text: str) -> range:
    match = _PORTS.fullmatch(text)
    first = int(match["first"]) if match else 0
    last = int(match["last"] or first) if match else 0
    if not 1 <= first <= last <= 65535:
        raise RuleInvalid("the port must be a number from 1 to 65535, or a range of them like 5432-5439")
    return range(first, last + 1)


def _network(text: str) -> IPNetwork:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise RuleInvalid(_why_not_a_network(text)) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        # IPv4 in the spelling of IPv6 (RFC 4291 §2.5.5.2): the rule is of those addresses in whatever spelling.
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
    return network


def _why_not_a_network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "this is not a network or an address"
    return "the address has bits beyond the length of its network"


def rule_name(host: str) -> str:
    """The name `host` as rules are compared with it: the one spelling that the resolver makes of all others.

    Capital letters, a trailing dot, and whatever Unicode holds for the same letters do not make another name.

    Raises:
        UnicodeError: no name of the DNS can be made of it.
    """
    return host.encode("idna").decode("ascii").lower().removesuffix(".")


def nat64_prefix(text: str) -> ipaddress.IPv6Network:
    """The NAT64 prefix that `text` writes (RFC 6052 §2.2).

    Raises:
        RuleInvalid: it writes none.
    """
    try:
        network = ipaddress.IPv6Network(text)
    except ValueError:
        raise RuleInvalid("this is not an IPv6 network") from None
    if network.prefixlen not in _NAT64_LENGTHS:
        raise RuleInvalid("its length must be 32, 40, 48, 56, 64 or 96")
    return network
