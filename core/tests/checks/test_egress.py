"""Which hosts, addresses and ports a connection test may connect to, and which rule says so."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory.checks.egress import ALLOW, ALLOW_LOOPBACK, BUILT_IN, DENY, EgressPolicy
from connectory.checks.egress_rules import RuleInvalid, parse_rule, rule_name

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


def allows(policy: EgressPolicy, ip: str, port: int | None = 443, name: str = "") -> bool:
    return policy.decide(ip, port, name).allowed


def within(network: str) -> st.SearchStrategy:
    return st.ip_addresses(network=network)


@pytest.mark.parametrize("ip", NEVER)
def test_metadata_link_local_multicast_and_reserved_addresses_are_never_allowed(ip: str):
    assert not allows(LOOPBACK, ip)


@pytest.mark.parametrize("ip", NO_ADDRESSES)
def test_what_is_no_address_in_its_plain_spelling_is_not_allowed(ip: str):
    assert not allows(LOOPBACK, ip)


@pytest.mark.parametrize(
    "ip", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12:3456::1", "8.8.8.8", "2606:4700::1111"]
)
def test_private_and_public_addresses_are_allowed_by_default(ip: str):
    assert allows(DEFAULT, ip)


@pytest.mark.parametrize(
    "ip", ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1"]
)
def test_loopback_is_allowed_only_where_the_deployer_says_so(ip: str):
    assert not allows(DEFAULT, ip)
    assert allows(LOOPBACK, ip)


def test_loopback_that_is_allowed_can_be_denied_in_part():
    policy = EgressPolicy(allow_loopback=True, deny=("127.0.0.8/29",))
    assert allows(policy, "127.0.0.1")
    assert not allows(policy, "127.0.0.9")


@given(within("169.254.0.0/16") | within("224.0.0.0/3") | within("0.0.0.0/8") | within("192.0.0.0/24"))
def test_no_embedding_of_a_forbidden_address_is_allowed(ip: ipaddress.IPv4Address):
    assert not any(allows(LOOPBACK, form) for form in embeddings(ip))


@given(within("10.0.0.0/8"))
def test_a_denied_network_is_denied_in_every_embedding(ip: ipaddress.IPv4Address):
    denying = EgressPolicy(deny=("10.0.0.0/8",))
    assert all(allows(DEFAULT, form) for form in embeddings(ip))
    assert not any(allows(denying, form) for form in embeddings(ip))


@given(st.ip_addresses())
def test_what_is_allowed_is_a_public_or_private_address(ip):
    """Neither link-local, multicast, unspecified nor loopback."""
    if allows(DEFAULT, str(ip)):
        assert not any([ip.is_link_local, ip.is_multicast, ip.is_unspecified, ip.is_loopback])


@given(st.ip_addresses(v=6))
def test_a_zone_does_not_change_what_is_allowed(ip: ipaddress.IPv6Address):
    assert allows(DEFAULT, f"{ip}%eth0") == allows(DEFAULT, str(ip))


@given(st.ip_addresses(), st.integers(0, 32))
def test_denying_a_network_denies_what_is_in_it(ip, length: int):
    network = ipaddress.ip_network((ip, length), strict=False)
    assert not allows(EgressPolicy(allow_loopback=True, deny=(str(network),)), str(ip))


@given(st.text(max_size=40))
def test_no_text_makes_it_raise(text: str):
    assert allows(DEFAULT, text) in {True, False}


def test_a_denied_port_is_denied_at_every_address_of_the_rule_and_at_no_other_port():
    policy = EgressPolicy(deny=("10.0.0.0/8:22", "[fd12::/16]:5000-5009", "*:25"))
    assert [allows(policy, "10.0.0.1", port) for port in (21, 22, 23, 25)] == [True, False, True, False]
    assert [allows(policy, "fd12::1", port) for port in (4999, 5000, 5009, 5010)] == [True, False, False, True]
    assert [allows(policy, ip, 25) for ip in ("8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1")] == [False] * 3


def test_once_there_is_something_to_allow_nothing_else_is_allowed():
    policy = EgressPolicy(allow=("10.0.0.0/8:5432", "2001:db8::/32", "db.example.com:443", "*:9000"))
    assert [allows(policy, "10.0.0.1", port) for port in (5432, 5433, 9000)] == [True, False, True]
    assert [allows(policy, ip, 5432) for ip in ("192.168.0.1", "2001:db8::1", "64:ff9b::a00:1")] == [False, True, True]
    assert [allows(policy, "192.168.0.1", port, "db.example.com") for port in (443, 444)] == [True, False]
    assert not allows(policy, "192.168.0.1", 443, "other.example.com")


@pytest.mark.parametrize("ip", ["169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "224.0.0.1", "127.0.0.1"])
@pytest.mark.parametrize("rule", ["*", "0.0.0.0/0", "::/0", "metadata.example.com", "*.example.com"])
def test_what_is_always_denied_is_so_whatever_is_allowed(ip: str, rule: str):
    policy = EgressPolicy(allow=(rule,))
    decision = policy.decide(ip, 80, "metadata.example.com")
    assert (decision.allowed, decision.origin) == (False, BUILT_IN)
    if ip != "127.0.0.1":
        assert not allows(EgressPolicy(allow_loopback=True, allow=(rule,)), ip, 80, "metadata.example.com")


@given(st.ip_addresses(), st.integers(1, 65535))
def test_what_is_denied_is_so_whatever_is_allowed(ip, port: int):
    for rule in (f"{ip}/{ip.max_prefixlen}", f"*:{port}", "*"):
        policy = EgressPolicy(allow_loopback=True, allow=("*", str(ip), "db.example.com"), deny=(rule,))
        assert policy.decide(str(ip), port, "db.example.com").origin in {DENY, BUILT_IN}
        assert not allows(policy, str(ip), port, "db.example.com")


def test_a_host_is_denied_by_its_name_before_it_has_addresses():
    policy = EgressPolicy(deny=("*.internal.example", "db.example.com:5432"))
    assert policy.denial_of("a.b.internal.example", 443).rule == "*.internal.example"
    assert policy.denial_of("db.example.com", 5432).rule == "db.example.com:5432"
    allowed = [
        ("internal.example", 443),
        ("xinternal.example", 443),
        ("db.example.com", 443),
        ("a.db.example.com", 5432),
    ]
    assert [policy.denial_of(*target) for target in allowed] == [None] * 4


def test_a_name_is_nothing_to_a_rule_for_networks_nor_an_address_to_one_for_names():
    assert EgressPolicy(deny=("10.0.0.0/8",)).denial_of("db.example.com", 443) is None
    assert allows(EgressPolicy(deny=("*.example.com",)), "10.0.0.1")
    assert not allows(EgressPolicy(allow=("*.example.com",)), "10.0.0.1")


def test_while_the_port_is_not_known_no_rule_for_a_port_denies_and_each_may_allow():
    assert allows(EgressPolicy(allow=("10.0.0.0/8:5432",), deny=("*:22", "db.example.com:22")), "10.0.0.1", None)
    assert EgressPolicy(deny=("db.example.com:22",)).denial_of("db.example.com", None) is None
    assert not allows(EgressPolicy(deny=("10.0.0.0/8",)), "10.0.0.1", None)


@pytest.mark.parametrize(
    ("policy", "ip", "rule", "origin"),
    [
        (EgressPolicy(deny=("10.0.0.0/8:1-99", "10.0.0.0/8")), "10.0.0.1", "10.0.0.0/8", DENY),
        (EgressPolicy(allow=("10.0.0.0/9", "10.0.0.0/8")), "10.200.0.1", "10.0.0.0/8", ALLOW),
        (EgressPolicy(allow=("10.0.0.0/8",)), "11.0.0.1", "no rule of the list allows it", ALLOW),
        (DEFAULT, "127.0.0.1", "loopback", BUILT_IN),
        (LOOPBACK, "127.0.0.1", "loopback", ALLOW_LOOPBACK),
        (LOOPBACK, "8.8.8.8", "no rule denies it", BUILT_IN),
        (LOOPBACK, "168.63.129.16", "168.63.129.16/32: Azure's wire server", BUILT_IN),
        (LOOPBACK, "fe80::1", "IPv6 outside of 2000::/3 and fc00::/7", BUILT_IN),
        (LOOPBACK, "somewhere", "not an address", BUILT_IN),
    ],
)
def test_a_decision_names_the_rule_and_where_it_is_from(policy: EgressPolicy, ip: str, rule: str, origin: str):
    decision = policy.decide(ip, 443)
    assert (decision.rule, decision.origin) == (rule, origin)


# The examples of RFC 6052 §2.4, for 192.0.2.33.
TRANSLATED = {
    "2001:db8::/32": "2001:db8:c000:221::",
    "2001:db8:100::/40": "2001:db8:1c0:2:21::",
    "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
    "2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
    "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
    "2001:db8:122:344::/96": "2001:db8:122:344::c000:221",
}


@pytest.mark.parametrize(("prefix", "ip"), TRANSLATED.items())
def test_an_address_that_a_nat64_translates_is_vetted_as_what_it_is_translated_to(prefix: str, ip: str):
    denying = EgressPolicy(deny=("192.0.2.33",), nat64=(prefix,))
    assert denying.decide(ip, 443).rule == "192.0.2.33"
    assert allows(EgressPolicy(deny=("192.0.2.33",)), ip)
    assert allows(EgressPolicy(nat64=(prefix,)), ip)
    assert allows(EgressPolicy(allow=("192.0.2.32/30",), nat64=(prefix,)), ip)


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64, 96])
@given(within("169.254.0.0/16") | within("127.0.0.0/8"), st.integers(0, 255))
def test_no_prefix_of_a_nat64_leads_to_what_is_denied(length: int, ip: ipaddress.IPv4Address, octet_8: int):
    """Whatever the octet between holds, which translators pass over."""
    prefix = ipaddress.ip_network(("2001:db8:122:344::", length), strict=False)
    octets = prefix.network_address.packed[: length // 8] + ip.packed
    octets = octets if length == 96 else octets[:8] + bytes([octet_8]) + octets[8:]
    form = ipaddress.IPv6Address(octets.ljust(16, b"\0"))
    assert not allows(EgressPolicy(nat64=(str(prefix),)), str(form))


def test_of_prefixes_that_overlap_each_counts():
    both = {"nat64": ("2001:db8::/32", "2001:db8::/96")}
    ip = "2001:db8:0a00:1::c000:221"  # 10.0.0.1 by the first; by the second nothing, as it is not in it
    assert EgressPolicy(deny=("10.0.0.0/8",), **both).decide(ip, 1).origin == DENY
    ip = "2001:db8::a00:1"  # 0.0.0.0 by the first, 10.0.0.1 by the second
    assert EgressPolicy(**both).decide(ip, 1).origin == BUILT_IN
    assert not allows(EgressPolicy(allow=("10.0.0.0/8",), **both), ip)


@pytest.mark.parametrize(
    "wrong", [{"allow": ("10.0.0.1/8",)}, {"deny": ("[10.0.0.0/8]",)}, {"nat64": ("64:ff9b::/90",)}]
)
def test_a_policy_with_something_else_than_rules_cannot_be_made(wrong: dict):
    with pytest.raises(RuleInvalid):
        EgressPolicy(**wrong)


# How a rule is written.


@pytest.mark.parametrize(
    ("text", "network", "host", "ports"),
    [
        ("10.0.0.0/8", "10.0.0.0/8", None, None),
        ("10.0.0.7", "10.0.0.7/32", None, None),
        ("10.0.0.0/8:5432", "10.0.0.0/8", None, range(5432, 5433)),
        ("10.0.0.7:5432-5439", "10.0.0.7/32", None, range(5432, 5440)),
        ("2001:db8::/32", "2001:db8::/32", None, None),
        ("2001:DB8::1", "2001:db8::1/128", None, None),
        ("[2001:db8::/32]", "2001:db8::/32", None, None),
        ("[2001:db8::/32]:443", "2001:db8::/32", None, range(443, 444)),
        ("[::1]:65535", "::1/128", None, range(65535, 65536)),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8", None, None),
        ("DB.Example.com", None, "db.example.com", None),
        ("db.example.com.:5432", None, "db.example.com", range(5432, 5433)),
        ("*.example.com:1-65535", None, "*.example.com", range(1, 65536)),
        ("localhost", None, "localhost", None),
        ("beef", None, "beef", None),
        ("_db._tcp.example.com", None, "_db._tcp.example.com", None),
        ("*", None, None, None),
        ("*:5432", None, None, range(5432, 5433)),
    ],
)
def test_a_rule_has_a_target_and_perhaps_ports(text: str, network: str | None, host: str | None, ports: range | None):
    rule = parse_rule(text)
    assert (rule.network and str(rule.network), rule.host, rule.ports, rule.text) == (network, host, ports, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *(
            (text, "not a network or an address")
            for text in ("10.0.0.0/33", "10.0.0.0.", "10.0.0", "127.1", "2001:db8::/129", "1:2")
        ),
        *(
            (text, "a network, an address or a host")
            for text in ("", "a b", "*.*.example.com", "db*.example.com", "*.")
        ),
        *((text, "a network, an address or a host") for text in ("ü.example", "a/b", "10.0.0.0/8/8", "-a.b")),
        ("10.0.0.1/8", "bits beyond the length"),
        ("fd00::/8:443", "IPv6 stands in brackets"),
        ("[10.0.0.0/8]:443", "brackets are for IPv6"),
        ("[db.example.com]", "brackets are for IPv6"),
        *(
            (f"10.0.0.1:{ports}", "1 to 65535")
            for ports in ("", "0", "65536", "x", "5-4", "1-", "-5", "1-65536", "+1", "1 ", "//x")
        ),
        ("*:", "1 to 65535"),
        ("[::1]:", "1 to 65535"),
        ("[::1]443", "a network, an address or a host"),
    ],
)
def test_what_is_not_a_rule_is_told_why_and_not_repeated(text: str, why: str):
    with pytest.raises(RuleInvalid, match=why) as raised:
        parse_rule(text)
    assert len(text) < 5 or text not in str(raised.value)


@given(st.text(max_size=40))
def test_whatever_is_written_it_is_a_rule_or_it_is_not(text: str):
    try:
        parse_rule(text)
    except RuleInvalid:
        return
    assert text.isascii()


@pytest.mark.parametrize(
    "host", ["db.example.com", "DB.Example.COM", "db.example.com.", "\uff44b.example.com", "db\u3002example.com"]
)
def test_a_name_has_one_spelling_for_all_rules(host: str):
    """Others are what the resolver would make of them: full-width letters, and the full stop of Chinese."""
    assert rule_name(host) == "db.example.com"


def embeddings(ip: ipaddress.IPv4Address) -> list[str]:
    number = int(ip)
    forms = [(0xFFFF << 32) + number, (0x64FF9B << 96) + number, (0x2002 << 112) + (number << 80)]
    return [str(ip), *(str(ipaddress.IPv6Address(form)) for form in forms)]
