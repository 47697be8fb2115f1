"""Whether packets to an address stay on this machine.

The kernel is asked for its route to the address: of type "local" is what it delivers to itself. Other ways were not taken:

- Listing the addresses of interfaces misses what is only routed here (`ip route add local`, as clouds do for load balancers),
  and a test may not open `/proc`.
- Whether one can `bind()` to it says nothing where `net.ipv4.ip_nonlocal_bind` is set, as on machines of HAProxy and keepalived:
  there every address can be bound.
- The source address that a connected datagram socket gets is the address itself, mostly: not where a route names another.

Nothing is sent to the network, no privilege is needed, and an answer takes some 50 µs. See rtnetlink(7).
"""

from __future__ import annotations

import errno
import socket
import struct

from connectory.checks.egress_rules import IPAddress

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, length of the destination, …, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_ERROR = struct.Struct("=i")
_TYPE_OF_ROUTE = _HEADER.size + 7

_REQUEST = 1  # NLM_F_REQUEST
_ANSWERED_ERROR = 2  # NLMSG_ERROR
_GET_ROUTE = 26  # RTM_GETROUTE
_NEW_ROUTE = 24  # RTM_NEWROUTE
_DESTINATION = 1  # RTA_DST
_HERE = frozenset({2, 4})  # RTN_LOCAL, RTN_ANYCAST: the machine is one of those that have the address
_NOWHERE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.EAGAIN})
"""What the kernel answers where no route leads to an address, or one that refuses it (ip-route(8): unreachable, prohibit, …)."""


def is_own(address: IPAddress) -> bool | None:
    """Whether `address` is one of this machine's; `None` where the kernel does not say, as where it may not be asked."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.send(_question(address))  # the kernel answers before this returns
            answer = kernel.recv(8192, socket.MSG_DONTWAIT)
    except OSError:
        return None
    kind = _HEADER.unpack_from(answer)[1]
    if kind == _ANSWERED_ERROR:
        return False if -_ERROR.unpack_from(answer, _HEADER.size)[0] in _NOWHERE else None
    return answer[_TYPE_OF_ROUTE] in _HERE if kind == _NEW_ROUTE else None


def _question(address: IPAddress) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    octets = address.packed
    route = _ROUTE.pack(family, len(octets) * 8, 0, 0, 0, 0, 0, 0, 0)
    destination = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(octets), _DESTINATION) + octets
    length = _HEADER.size + len(route) + len(destination)
    return _HEADER.pack(length, _GET_ROUTE, _REQUEST, 0, 0) + route + destination
