"""Where connection tests may connect."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from connectory.checks.egress_rules import IPAddress, Rule, nat64_prefix, parse_rule
from connectory.checks.ipv4_in_ipv6 import embedded_in
from connectory.checks.own_addresses import is_own

ALLOW = "CONNECTORY_EGRESS_ALLOW"
DENY = "CONNECTORY_EGRESS_DENY"
ALLOW_LOOPBACK = "CONNECTORY_EGRESS_ALLOW_LOOPBACK"
BUILT_IN = "built in"
"""Where a rule may be from: a setting, or the service itself."""

_NEVER_V4 = {
    "0.0.0.0/8": "this network",  # Linux takes 0.0.0.0 for itself (RFC 1122 §3.2.1.3)
    "169.254.0.0/16": "link-local, and the metadata services of most clouds",  # RFC 3927
    "192.0.0.0/24": "protocol assignments, and Oracle's metadata service",  # RFC 6890
    "168.63.129.16/32": "Azure's wire server",
    "100.100.100.200/32": "Alibaba's metadata service",
    "224.0.0.0/4": "multicast",  # RFC 5771
    "240.0.0.0/4": "reserved, and broadcast",  # RFC 1112 §4
}
_NEVER_V6 = {
    "fd00:ec2::/32": "AWS's metadata, time and name services",
    "fd20:ce::254/128": "Google Cloud's metadata service",
    "2001::/23": "protocol assignments, Teredo among them",  # RFC 2928
}
_NEVER = tuple((ipaddress.ip_network(text), f"{text}: {what}") for text, what in (_NEVER_V4 | _NEVER_V6).items())
# IPv6 the other way round, because most of it is unassigned: these, and nothing else, can be a server.
_MAYBE_V6 = (
    ipaddress.IPv6Network("2000::/3"),  # global unicast (RFC 4291 §2.4)
    ipaddress.IPv6Network("fc00::/7"),  # unique local (RFC 4193)
)
_NO_UNICAST = "IPv6 outside of 2000::/3 and fc00::/7"
_LOOPBACK = "loopback"
_OWN = "an address of this machine, which counts as loopback"
_PERHAPS_OWN = "perhaps an address of this machine, because the service may not open netlink sockets to ask the kernel"


@dataclass(frozen=True)
class Decision:
    """Whether a connection is allowed, and what decides that.

    Attributes:
        rule: the deciding rule, as its setting has it, or in words.
        origin: the setting that it is from, or `BUILT_IN`.
    """

    allowed: bool
    rule: str
    origin: str


@dataclass(frozen=True)
class EgressPolicy:
    """What the deployer allows. Private, unique local and carrier-grade NAT ranges are allowed: databases live there.

    What is denied is denied, whatever `allow` says; and what is denied always is so whatever the deployer says.

    Attributes:
        allow_loopback: whether loopback, and the addresses of this machine, are allowed. Default no.
        allow: rules; where there are any, nothing else is allowed. Default none.
        deny: rules of what is denied besides what always is. Default none.
        nat64: prefixes, besides 64:ff9b::/96, of addresses that a NAT64 of the deployer's translates. Default none.

    Raises:
        RuleInvalid: a rule or a prefix is not one.
    """

    allow_loopback: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    nat64: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self._allowing, self._denying, self._prefixes

    @cached_property
    def _allowing(self) -> tuple[Rule, ...]:
        return tuple(map(parse_rule, self.allow))

    @cached_property
    def _denying(self) -> tuple[Rule, ...]:
        return tuple(map(parse_rule, self.deny))

    @cached_property
    def _prefixes(self) -> tuple[ipaddress.IPv6Network, ...]:
        return tuple(map(nat64_prefix, self.nat64))

    def denial_of(self, name: str, port: int | None) -> Decision | None:
        """The denial of the host `name`, as `rule_name` gives it, whatever its addresses are; `None` where there is none.

        Args:
            port: `None` while it is not known; then it denies nothing.
        """
        for rule in self._denying:
            if rule.is_of_port(port, unless_known=False) and rule.is_of_name(name):
                return Decision(False, rule.text, DENY)
        return None

    def decide(self, ip: str, port: int | None, name: str = "") -> Decision:
        """Whether a test may connect to `port` of `ip`, an address as text. What is not an address is not allowed.

        Args:
            port: `None` while it is not known; then no rule for a port denies, and each may allow.
            name: the host that was resolved to it, as `rule_name` gives it. Default: none was.
        """
        try:
            address: IPAddress = ipaddress.ip_address(ip.partition("%")[0])
        except ValueError:
            return Decision(False, "not an address", BUILT_IN)
        embedded = embedded_in(address, self._prefixes) if isinstance(address, ipaddress.IPv6Address) else ()
        ends = embedded or (address,)
        return (
            self._denial({address, *ends}, port) or self._built_in(ends) or self._allowance(address, ends, port, name)
        )

    def _denial(self, forms: Iterable[IPAddress], port: int | None) -> Decision | None:
        for rule in self._denying:
            if rule.is_of_port(port, unless_known=False) and any(map(rule.is_of_address, forms)):
                return Decision(False, rule.text, DENY)
        return None

    def _built_in(self, ends: Iterable[IPAddress]) -> Decision | None:
        reasons = (_never(end) or (None if self.allow_loopback else _here(end)) for end in ends)
        return next((Decision(False, reason, BUILT_IN) for reason in reasons if reason is not None), None)

    def _allowance(self, address: IPAddress, ends: tuple[IPAddress, ...], port: int | None, name: str) -> Decision:
        for rule in self._allowing:
            is_of_it = rule.is_of_name(name) or rule.is_of_address(address) or all(map(rule.is_of_address, ends))
            if is_of_it and rule.is_of_port(port, unless_known=True):
                return Decision(True, rule.text, ALLOW)
        if self.allow:
            return Decision(False, "no rule of the list allows it", ALLOW)
        here = next(filter(None, map(_here, ends)), None)
        return Decision(True, here, ALLOW_LOOPBACK) if here else Decision(True, "no rule denies it", BUILT_IN)


def _never(address: IPAddress) -> str | None:
    """Why nothing can allow `address`, where that is so."""
    if address.is_loopback:
        return None
    for network, reason in _NEVER:
        if address in network:
            return reason
    is_unicast = isinstance(address, ipaddress.IPv4Address) or any(address in network for network in _MAYBE_V6)
    return None if is_unicast else _NO_UNICAST


def _here(address: IPAddress) -> str | None:
    """Why `address` counts as loopback, where it does."""
    if address.is_loopback:
        return _LOOPBACK
    own = is_own(address)
    return _PERHAPS_OWN if own is None else _OWN if own else None
