"""The host grammar: one way to write each address, and nothing that a driver or a resolver would read as something else."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory import Host, Secrets
from connectory.documents.validation import SecretsInvalid, parse_secrets


class Somewhere(Secrets):
    host: Host


def accepted(host: object) -> str:
    return parse_secrets(Somewhere, {"host": host}).host


HOSTILE = {
    "a socket's folder": "/var/run/postgresql",
    "an abstract socket": "@x",
    "a second url inside": "127.0.0.1/d?host=/var/run/postgresql&passfile=/etc/passwd&x=",
    "two seeds": "a,127.0.0.1",
    "an instance name": "127.0.0.1\\I",
    "an ODBC keyword": "127.0.0.1;DRIVER=/path/evil.so",
    "an ODBC port": "127.0.0.1,1433",
    "a decimal address": "2130706433",
    "a hexadecimal address": "0x7f000001",
    "an octal address": "0177.0.0.1",
    "an octal number": "017700000001",
    "a short address": "127.1",
    "zero": "0",
    "a short hexadecimal address": "0x7f.1",
    "a hexadecimal last label": "127.0.0.0x1",
    "an address with five parts": "1.2.3.4.5",
    "an octet over 255": "127.0.0.256",
    "a leading zero": "127.0.0.01",
    "NUL": "127.0.0.1\0.example.com",
    "a user name": "good.com@evil.example",
    "a user name and a port": "good.com:80@evil.example",
    "a backslash": "good.com\\@evil.example",
    "a path": "good.com/evil",
    "a query": "good.com?evil",
    "a fragment": "evil.example#.good.com",
    "a percent escape": "good.com%2eevil",
    "a port": "good.com:5432",
    "a scheme": "http://good.com",
    "a space": "good.com evil",
    "a leading space": " good.com",
    "a trailing newline": "good.com\n",
    "a header": "good.com\r\nX-Injected: 1",
    "a tab": "good\t.com",
    "a leading hyphen": "-good.com",
    "a trailing hyphen": "good-.com",
    "an option": "--host=evil",
    "an empty label": "good..com",
    "a leading dot": ".good.com",
    "a trailing dot": "good.com.",
    "an empty name": "",
    "a label of 64 characters": "a" * 64,
    "a name of 254 characters": ("a" * 49 + ".") * 5 + "abcd",
    "a name that is no ASCII": "ex\u00e4mple.com",
    "full-width digits": "\uff11\uff12\uff17.0.0.1",
    "a full-width dot": "good\u3002com",
    "an invisible character": "good\u200b.com",
    "a lone surrogate": "good\ud800.com",
    "a zone": "fe80::1%eth0",
    "an IPv4 tail": "::ffff:127.0.0.1",
    "an unclosed bracket": "[::1",
    "a bracket that was not opened": "::1]",
    "brackets with a port": "[::1]:5432",
    "brackets around a name": "[good.com]",
    "nine groups": "1:2:3:4:5:6:7:8:9",
    "two abbreviations": "1::2::3",
    "a group of five digits": "12345::",
    "a number": 2130706433,
    "a list": ["good.com"],
    "an object": {"host": "good.com"},
    "a truth value": True,
}


@pytest.mark.parametrize("host", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_host_is_refused_and_not_repeated(host):
    with pytest.raises(SecretsInvalid) as refused:
        accepted(host)
    [problem] = refused.value.problems
    assert problem["loc"] == ["host"]
    assert problem["msg"].startswith("Must ")
    if isinstance(host, str) and len(host) > 2:
        assert host not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "host.docker.internal",
        "mongodb_example",
        "_service._tcp.example.com",
        "db-1.example.com",
        "xn--exmple-cua.com",
        "3com.example",
        "1.2.3.example",
        "EXAMPLE.com",
        "a",
        "a" * 63,
        ("a" * 49 + ".") * 5 + "abc",
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
    ],
)
def test_a_name_or_an_ipv4_address_is_taken_as_it_is(host):
    assert accepted(host) == host


@pytest.mark.parametrize(
    "address", ["::1", "::", "2001:db8::5", "1:2:3:4:5:6:7:8", "1::", "fe80::1", "64:ff9b::a9fe:a9fe"]
)
def test_an_ipv6_address_is_the_same_with_and_without_brackets(address):
    assert accepted(address) == address
    assert accepted(f"[{address}]") == address


@given(st.ip_addresses())
def test_every_address_is_accepted(address):
    text = str(address) if address.version == 4 or address.ipv4_mapped is None else address.exploded
    assert ipaddress.ip_address(accepted(text)) == address


@given(st.text("0123456789abcdef:[].x", max_size=45))
def test_what_looks_like_an_address_is_one_by_the_standard_library_too(text):
    try:
        host = accepted(text)
    except SecretsInvalid:
        return
    if ":" in host or host.replace(".", "").isdigit():
        ipaddress.ip_address(host)


@given(st.text(max_size=300))
def test_an_accepted_host_holds_nothing_that_separates_parts_of_anything(text):
    try:
        host = accepted(text)
    except SecretsInvalid:
        return
    assert host.isascii()
    assert len(host) <= 253
    assert not set(host) & set("/\\@?#,;%= \t\r\n\0[]{}'\"")
