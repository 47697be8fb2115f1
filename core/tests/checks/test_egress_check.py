"""What the policy says of a host, without connecting."""

import socket
import threading
import time

import pytest

from connectory.checks import addresses, egress_check
from connectory.checks.egress import ALLOW, ALLOW_LOOPBACK, BUILT_IN, DENY, EgressPolicy
from connectory.checks.egress_check import check_egress
from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer, Peer

LOOPBACK = EgressPolicy(allow_loopback=True)


@pytest.fixture
def answers(monkeypatch) -> dict[str, list[str]]:
    """What the resolver knows, whose own answers have no names."""
    known: dict[str, list[str]] = {}
    system = socket.getaddrinfo

    def lookup(host, port, type=0, flags=0):  # noqa: A002
        if flags & socket.AI_NUMERICHOST:
            return system(host, port, type=type, flags=flags)
        return [entry for ip in known[host] for entry in system(ip, port, type=type, flags=socket.AI_NUMERICHOST)]

    monkeypatch.setattr(addresses, "_lookup", lookup)
    return known


def test_it_connects_to_nothing():
    with LoopbackServer(Peer.drain) as server:
        report = check_egress(LOOPBACK, server.host, server.port)
        assert (report.code, report.decision.origin) == (None, ALLOW_LOOPBACK)
        assert server.connections == 0


def test_every_address_has_its_rule_and_the_first_that_is_refused_decides(answers):
    answers["db.example"] = ["203.0.113.7", "10.0.0.1", "169.254.169.254"]
    report = check_egress(EgressPolicy(allow=("db.example:5432",), deny=("10.0.0.0/8",)), "db.example", 5432)
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert (report.decision.rule, report.decision.origin) == ("10.0.0.0/8", DENY)
    found = {ip: (decision.allowed, decision.rule, decision.origin) for ip, decision in report.addresses}
    assert found["203.0.113.7"] == (True, "db.example:5432", ALLOW)
    assert found["10.0.0.1"] == (False, "10.0.0.0/8", DENY)
    assert found["169.254.169.254"][2] == BUILT_IN


def test_a_host_that_is_denied_by_its_name_is_not_looked_up(answers):
    for host in ("db.internal.example", "DB.Internal.Example."):
        report = check_egress(EgressPolicy(deny=("*.internal.example",)), host, 443)
        assert (report.code, report.addresses) == (FailureCode.ADDRESS_NOT_ALLOWED, ())
        assert report.decision.rule == "*.internal.example"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64, ".", "[::1", "1:2:3"])
def test_a_host_that_has_no_address_is_that(host):
    report = check_egress(LOOPBACK, host, 443)
    assert (report.code, report.decision, report.addresses) == (FailureCode.DNS_FAILED, None, ())


def test_a_look_up_that_takes_too_long_is_given_up(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(egress_check, "look_up", lambda _host: ended.wait(30))
    monkeypatch.setattr(egress_check, "LOOKUP_TIME", 0.05)
    started = time.monotonic()
    assert check_egress(LOOPBACK, "db.example", 443).code is FailureCode.DNS_TIMEOUT
    assert time.monotonic() - started < 5
    ended.set()


def test_what_a_test_meets_is_what_the_check_says(check):
    """The same code answers both."""
    with LoopbackServer(Peer.drain) as server:
        for rules, code in (({}, None), ({"deny": (f"localhost:{server.port}",)}, FailureCode.ADDRESS_NOT_ALLOWED)):
            policy = EgressPolicy(allow_loopback=True, **rules)
            assert check_egress(policy, "localhost", server.port).code is code
            assert check(f"context.connect('localhost', {server.port})[0].close()", policy=policy).code is code
