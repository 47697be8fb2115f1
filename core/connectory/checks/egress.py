"""Where connection tests may connect."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cached_property

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEVER_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for itself (RFC 1122 §3.2.1.3)
        "169.254.0.0/16",  # link-local, and the metadata services of most clouds (RFC 3927)
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata service (RFC 6890)
        "168.63.129.16/32",  # Azure's wire server
        "100.100.100.200/32",  # Alibaba's metadata service
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved, and broadcast (RFC 1112 §4)
    )
)
# IPv6 the other way round, because most of it is unassigned: these, and nothing else, can be a server.
_MAYBE_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2000::/3",  # global unicast (RFC 4291 §2.4)
        "fc00::/7",  # unique local (RFC 4193)
    )
)
_NEVER_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "fd00:ec2::/32",  # AWS's metadata, time and name services
        "fd20:ce::254/128",  # Google Cloud's metadata service
        "2001::/23",  # protocol assignments, Teredo among them (RFC 2928)
    )
)
# IPv6 that holds an IPv4 address in its last 32 bits: mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052), compatible (§2.5.5.1).
_LAST_32_BITS = tuple(ipaddress.IPv6Network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96", "::/96"))
_LOOPBACK_V6 = ipaddress.IPv6Address("::1")


@dataclass(frozen=True)
class EgressPolicy:
    """What the deployer allows. Private, unique local and carrier-grade NAT ranges are allowed: databases live there.

    Attributes:
        allow_loopback: whether 127.0.0.0/8 and ::1 are allowed. Default no.
        deny: networks in CIDR notation that are denied besides those that always are. Default none.

    Raises:
        ValueError: `deny` holds something that is not a network.
    """

    allow_loopback: bool = False
    deny: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self._denied

    @cached_property
    def _denied(self) -> tuple[_Network, ...]:
        return tuple(ipaddress.ip_network(network, strict=False) for network in self.deny)

    def allows(self, ip: str) -> bool:
        """Whether a test may connect to `ip`, an address as text. What is not an address is not allowed."""
        try:
            address: _Address = ipaddress.ip_address(ip.partition("%")[0])
        except ValueError:
            return False
        embedded = _embedded(address)
        if any(form in network for form in (address, embedded or address) for network in self._denied):
            return False
        return self._is_a_server(embedded or address)

    def _is_a_server(self, address: _Address) -> bool:
        if isinstance(address, ipaddress.IPv4Address):
            if address.is_loopback:
                return self.allow_loopback
            return not any(address in network for network in _NEVER_V4)
        if address == _LOOPBACK_V6:
            return self.allow_loopback
        if any(address in network for network in _NEVER_V6):
            return False
        return any(address in network for network in _MAYBE_V6)


def _embedded(address: _Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to `address` may end up at, where it holds one."""
    if not isinstance(address, ipaddress.IPv6Address) or int(address) <= 1:
        return None
    if any(address in network for network in _LAST_32_BITS):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour  # 2002::/16 (RFC 3056)
