"""Where connection tests may connect."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cached_property

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Never a database or a service: metadata services of clouds (Azure's wire server, Oracle's, Alibaba's, AWS over IPv6),
# protocol assignments (RFC 6890), "this network" (RFC 1122), deprecated site-local addresses (RFC 3879).
_ALWAYS_DENIED: tuple[_Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "168.63.129.16/32", "100.100.100.200/32", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128",
    )
)  # fmt: skip
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


@dataclass(frozen=True)
class EgressPolicy:
    """The deployer's policy.

    Attributes:
        allow_loopback: whether 127.0.0.0/8 and ::1 are allowed.
        deny: networks in CIDR notation that are denied besides those that always are.
    """

    allow_loopback: bool = False
    deny: tuple[str, ...] = ()

    @cached_property
    def _denied(self) -> tuple[_Network, ...]:
        return _ALWAYS_DENIED + tuple(ipaddress.ip_network(network, strict=False) for network in self.deny)

    def allows(self, ip: str) -> bool:
        """Whether a test may connect to `ip`, an address as text."""
        try:
            address: _Address = ipaddress.ip_address(ip.partition("%")[0])
        except ValueError:
            return False
        return all(self._allows_one(form) for form in _forms(address))

    def _allows_one(self, address: _Address) -> bool:
        if address.is_loopback:
            return self.allow_loopback and not any(address in network for network in self._denied)
        if address.is_multicast or address.is_unspecified or address.is_link_local:
            return False
        return not any(address in network for network in self._denied)


def _forms(address: _Address) -> list[_Address]:
    """`address`, and the IPv4 address that it embeds, if any: the packet may well end up there."""
    if not isinstance(address, ipaddress.IPv6Address):
        return [address]
    embedded = address.ipv4_mapped or address.sixtofour
    if embedded is None and (address in _NAT64 or (address in _COMPATIBLE and int(address) > 1)):
        embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return [address] if embedded is None else [address, embedded]
