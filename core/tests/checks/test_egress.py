"""Which addresses a connection test may connect to."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory.checks.egress import EgressPolicy

DEFAULT = EgressPolicy()
LOOPBACK = EgressPolicy(allow_loopback=True)

NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "::ffff:169.254.169.254",
    "::a9fe:a9fe",
    "::ffff:0:a9fe:a9fe",
    "2001:0:a9fe:a9fe::1",
    "100::1",
    "5f00::1",
]
NO_ADDRESSES = [
    "",
    "localhost",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "0",
    "10.0.0.1/8",
    "[::1]",
    "10.0.0.1\x00",
]


def within(network: str) -> st.SearchStrategy:
    return st.ip_addresses(network=network)


@pytest.mark.parametrize("ip", NEVER)
def test_metadata_link_local_multicast_and_reserved_addresses_are_never_allowed(ip: str):
    assert not LOOPBACK.allows(ip)


@pytest.mark.parametrize("ip", NO_ADDRESSES)
def test_what_is_no_address_in_its_plain_spelling_is_not_allowed(ip: str):
    assert not LOOPBACK.allows(ip)


@pytest.mark.parametrize(
    "ip", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12:3456::1", "8.8.8.8", "2606:4700::1111"]
)
def test_private_and_public_addresses_are_allowed_by_default(ip: str):
    assert DEFAULT.allows(ip)


@pytest.mark.parametrize(
    "ip", ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1"]
)
def test_loopback_is_allowed_only_where_the_deployer_says_so(ip: str):
    assert not DEFAULT.allows(ip)
    assert LOOPBACK.allows(ip)


def test_loopback_that_is_allowed_can_be_denied_in_part():
    policy = EgressPolicy(allow_loopback=True, deny=("127.0.0.8/29",))
    assert policy.allows("127.0.0.1")
    assert not policy.allows("127.0.0.9")


@given(within("169.254.0.0/16") | within("224.0.0.0/3") | within("0.0.0.0/8") | within("192.0.0.0/24"))
def test_no_embedding_of_a_forbidden_address_is_allowed(ip: ipaddress.IPv4Address):
    assert not any(LOOPBACK.allows(form) for form in embeddings(ip))


@given(within("10.0.0.0/8"))
def test_a_denied_network_is_denied_in_every_embedding(ip: ipaddress.IPv4Address):
    denying = EgressPolicy(deny=("10.0.0.0/8",))
    assert all(DEFAULT.allows(form) for form in embeddings(ip))
    assert not any(denying.allows(form) for form in embeddings(ip))


@given(st.ip_addresses())
def test_what_is_allowed_is_a_public_or_private_address(ip):
    """Neither link-local, multicast, unspecified nor loopback."""
    if DEFAULT.allows(str(ip)):
        assert not any([ip.is_link_local, ip.is_multicast, ip.is_unspecified, ip.is_loopback])


@given(st.ip_addresses(v=6))
def test_a_zone_does_not_change_what_is_allowed(ip: ipaddress.IPv6Address):
    assert DEFAULT.allows(f"{ip}%eth0") == DEFAULT.allows(str(ip))


@given(st.ip_addresses(), st.integers(0, 32))
def test_denying_a_network_denies_what_is_in_it(ip, length: int):
    network = ipaddress.ip_network((ip, length), strict=False)
    assert not EgressPolicy(allow_loopback=True, deny=(str(network),)).allows(str(ip))


@given(st.text(max_size=40))
def test_no_text_makes_it_raise(text: str):
    assert DEFAULT.allows(text) in {True, False}


def test_a_policy_with_something_else_than_networks_cannot_be_made():
    with pytest.raises(ValueError, match="intranet"):
        EgressPolicy(deny=("intranet",))


def embeddings(ip: ipaddress.IPv4Address) -> list[str]:
    number = int(ip)
    forms = [(0xFFFF << 32) + number, (0x64FF9B << 96) + number, (0x2002 << 112) + (number << 80)]
    return [str(ip), *(str(ipaddress.IPv6Address(form)) for form in forms)]
