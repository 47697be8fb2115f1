"""The addresses of this machine count as loopback, in the process of a test too."""

import ipaddress
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from connectory.checks import egress, own_addresses
from connectory.checks.egress import EgressPolicy
from connectory.checks.own_addresses import is_own
from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer, Peer


def own_ipv4() -> list[str]:
    """Those of the interfaces, as the kernel lists them; loopback's not."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    found = {line.split()[-1] for line, kind in pairwise(lines) if "/32 host LOCAL" in kind}
    return sorted(ip for ip in found if not ipaddress.ip_address(ip).is_loopback)


@pytest.fixture
def own() -> str:
    """An address of this machine that is not loopback's."""
    addresses = own_ipv4()
    if not addresses:
        pytest.skip("this machine has loopback only")
    return addresses[0]


def test_an_address_of_an_interface_is_the_machines_own_and_others_are_not(own):
    assert is_own(ipaddress.ip_address(own))
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert is_own(ipaddress.ip_address("203.0.113.1")) is False
    assert is_own(ipaddress.ip_address("2001:db8::1")) is False


def test_it_counts_as_loopback_in_every_embedding(own):
    number = int(ipaddress.IPv4Address(own))
    forms = [own, f"::ffff:{own}", str(ipaddress.IPv6Address((0x64FF9B << 96) + number))]
    for form in forms:
        decision = EgressPolicy(allow=("*",)).decide(form, 443)
        assert (decision.allowed, decision.origin) == (False, egress.BUILT_IN)
        assert "of this machine" in decision.rule
        allowed = EgressPolicy(allow_loopback=True).decide(form, 443)
        assert (allowed.allowed, allowed.origin) == (True, egress.ALLOW_LOOPBACK)


def test_a_test_is_kept_from_it_unless_loopback_is_allowed(check, own):
    with LoopbackServer(Peer.drain, addresses=(own,)) as server:
        dial = f"context.connect({own!r}, {server.port})[0].close()"
        assert check(dial, policy=EgressPolicy()).code is FailureCode.ADDRESS_NOT_ALLOWED
        assert server.connections == 0
        assert check(dial, policy=EgressPolicy(allow_loopback=True)).status == "succeeded"


# In a network of its own, where every address can be bound, and one is on an interface.
_ELSEWHERE = """
import fcntl, ipaddress, socket, struct
from pathlib import Path
from connectory.checks.own_addresses import is_own

def address(ip):
    return struct.pack("=HH4s8x", socket.AF_INET, 0, ipaddress.IPv4Address(ip).packed)

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    for name, call, value in (
        (b"lo", 0x8914, struct.pack("=H14x", 0x1)),  # SIOCSIFFLAGS: up
        (b"lo:1", 0x8916, address("198.51.100.7")),  # SIOCSIFADDR
        (b"lo:1", 0x891c, address("255.255.255.255")),  # SIOCSIFNETMASK
    ):
        fcntl.ioctl(control, call, name.ljust(16, b"\\0") + value.ljust(24, b"\\0"))
Path("/proc/sys/net/ipv4/ip_nonlocal_bind").write_text("1")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
    anything.bind(("203.0.113.1", 0))
print([is_own(ipaddress.ip_address(ip)) for ip in ("198.51.100.7", "198.51.100.8", "203.0.113.1")])
"""


def test_it_does_not_matter_that_every_address_can_be_bound():
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-c", _ELSEWHERE]
    done = subprocess.run(command, capture_output=True, text=True)
    if "unshare failed" in done.stderr:
        pytest.skip("this machine gives no network of its own")
    assert done.stdout == "[True, False, False]\n", done.stderr


def test_where_the_kernel_may_not_be_asked_every_address_counts_as_own(monkeypatch):
    class Forbidden:
        def __init__(self, *_: object) -> None:
            raise PermissionError

    monkeypatch.setattr(own_addresses.socket, "socket", Forbidden)
    assert is_own(ipaddress.ip_address("203.0.113.1")) is None
    decision = EgressPolicy(allow=("*",)).decide("203.0.113.1", 443)
    assert (decision.allowed, decision.origin) == (False, egress.BUILT_IN)
    assert "netlink" in decision.rule
