"""IPv4 addresses inside IPv6 addresses, where packets may end up: a rule about the one has to hold for the other."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

# In the last 32 bits: mapped (RFC 4291 §2.5.5.2), compatible (§2.5.5.1), and the well-known prefix of NAT64 (RFC 6052 §2.1).
_EVERYWHERE = tuple(ipaddress.IPv6Network(network) for network in ("::ffff:0:0/96", "::/96", "64:ff9b::/96"))
_LOOPBACK_AND_UNSPECIFIED = range(2)


def embedded_in(
    address: ipaddress.IPv6Address, prefixes: Iterable[ipaddress.IPv6Network]
) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that packets to `address` may end up at; mostly none.

    Args:
        prefixes: NAT64 prefixes besides the well-known one, each of a length of RFC 6052 §2.2.
    """
    if int(address) in _LOOPBACK_AND_UNSPECIFIED:
        return ()
    translated = [_translated(address, prefix) for prefix in (*_EVERYWHERE, *prefixes) if address in prefix]
    return (
        (*translated, address.sixtofour) if address.sixtofour is not None else tuple(translated)
    )  # 2002::/16 (RFC 3056)


def _translated(address: ipaddress.IPv6Address, prefix: ipaddress.IPv6Network) -> ipaddress.IPv4Address:
    """The 32 bits after the prefix. Octet 8 is not one of them (RFC 6052 §2.2): translators pass over it, whatever it holds."""
    octets = address.packed
    after = octets[prefix.prefixlen // 8 :] if prefix.prefixlen > 64 else octets[prefix.prefixlen // 8 : 8] + octets[9:]
    return ipaddress.IPv4Address(after[:4])
