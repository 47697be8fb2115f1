"""Name resolution, connecting, and time, as a test sees them."""

import errno
import socket
import time

import pytest

from connectory.checks import addresses
from connectory.checks.addresses import VettedAddresses
from connectory.checks.context import ChildContext
from connectory.checks.egress import EgressPolicy
from connectory.checks.protocol import Denied, Event
from connectory.contract.check import Address, CheckFailed, FailureCode
from testkit.loopback import LoopbackServer, Peer


class Resolver:
    """What the system's resolver answers, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str] | Exception] = {}
        self.asked: list[str] = []
        self.canonical: dict[str, str] = {}
        self._system = socket.getaddrinfo

    def __call__(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
        if flags & socket.AI_NUMERICHOST:
            return self._system(host, port, family, type, proto, flags)
        self.asked.append(host)
        answer = self.answers.get(host, socket.gaierror(socket.EAI_NONAME, "no such host"))
        if isinstance(answer, Exception):
            raise answer
        found = [entry for ip in answer for entry in self._system(ip, port, type=type, flags=socket.AI_NUMERICHOST)]
        return [(*entry[:3], self.canonical.get(host, ""), entry[4]) for entry in found]


@pytest.fixture
def resolver(monkeypatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(addresses, "_lookup", resolver)
    return resolver


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def context_for(resolver, events):
    def make(*, seconds: float = 10, settings: dict | None = None, **policy) -> ChildContext:
        vetted = VettedAddresses(EgressPolicy(**policy), on_denial=lambda: events.append(Denied()))
        return ChildContext(
            killed_at=time.monotonic() + seconds, addresses=vetted, settings=settings or {}, emit=events.append
        )

    return make


def code(events_of, *arguments) -> FailureCode:
    with pytest.raises(CheckFailed) as failed:
        events_of(*arguments)
    return failed.value.code


def test_a_name_is_looked_up_once_whatever_its_case_and_port(context_for, resolver):
    resolver.answers["db.example"] = ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    context = context_for()
    assert context.resolve("db.example", 5432) == (Address("10.0.0.1", 5432), Address("10.0.0.2", 5432))
    resolver.answers["db.example"] = ["10.9.9.9"]  # a far end that now says something else
    assert context.resolve("DB.example", 6432) == (Address("10.0.0.1", 6432), Address("10.0.0.2", 6432))
    assert resolver.asked == ["db.example"]


@pytest.mark.parametrize("host", ["10.0.0.1", "fd12::1", "[fd12::1]"])
def test_an_address_is_not_looked_up(context_for, resolver, host: str):
    assert context_for().resolve(host, 5432) == (Address(host.strip("[]"), 5432),)
    assert resolver.asked == []


@pytest.mark.parametrize("bad", ["169.254.169.254", "127.0.0.1", "::1", "fe80::1"])
def test_a_host_with_one_forbidden_address_is_forbidden_as_a_whole(context_for, resolver, events, bad: str):
    resolver.answers["rebinding.example"] = ["203.0.113.7", bad]
    context = context_for()
    assert code(context.resolve, "rebinding.example", 443) is FailureCode.ADDRESS_NOT_ALLOWED
    assert code(context.connect, "rebinding.example", 443) is FailureCode.ADDRESS_NOT_ALLOWED
    assert code(context.resolve, bad, 443) is FailureCode.ADDRESS_NOT_ALLOWED
    assert Denied() in events


@pytest.mark.parametrize(
    "host", ["db.internal.example", "DB.Internal.EXAMPLE", "db.internal.example.", "\uff44b.internal.example"]
)
def test_a_host_that_is_denied_by_name_is_not_even_looked_up(context_for, resolver, events, host: str):
    resolver.answers[host.lower()] = ["203.0.113.7"]
    context = context_for(deny=("*.internal.example",))
    assert code(context.resolve, host, 443) is FailureCode.ADDRESS_NOT_ALLOWED
    assert (resolver.asked, Denied() in events) == ([], True)


def test_a_name_that_stands_for_others_is_vetted_without_being_looked_up(context_for, resolver, events):
    context = context_for(deny=("cluster.example:27017",))
    context.vet("cluster.example")
    context.vet("cluster.example", 443)
    context.vet("other.example", 27017)
    assert Denied() not in events
    assert code(context.vet, "Cluster.example.", 27017) is FailureCode.ADDRESS_NOT_ALLOWED
    assert code(context.vet, "a" * 64 + ".example") is FailureCode.DNS_FAILED
    assert (resolver.asked, Denied() in events) == ([], True)


def test_a_host_that_is_another_name_of_a_denied_one_is_denied(context_for, resolver):
    """An alias in the DNS, or a short name that the resolver completes."""
    resolver.answers |= {"innocent.example": ["203.0.113.7"], "db": ["203.0.113.7"]}
    resolver.canonical |= {"innocent.example": "DB.internal.example", "db": "db.internal.example."}
    context = context_for(deny=("*.internal.example",))
    assert code(context.resolve, "innocent.example", 443) is FailureCode.ADDRESS_NOT_ALLOWED
    assert code(context.resolve, "db", 443) is FailureCode.ADDRESS_NOT_ALLOWED


def test_a_host_that_only_claims_to_be_an_allowed_one_is_not_allowed(context_for, resolver):
    resolver.answers |= {"other.example": ["203.0.113.7"], "db.example.": ["203.0.113.7"]}
    resolver.canonical["other.example"] = "db.example"
    context = context_for(allow=("db.example",))
    assert code(context.resolve, "other.example", 443) is FailureCode.ADDRESS_NOT_ALLOWED
    assert context.resolve("DB.example.", 443) == (Address("203.0.113.7", 443),)


@pytest.mark.parametrize("bad", ["169.254.169.254", "127.0.0.1", "10.0.0.1"])
def test_the_addresses_of_an_allowed_host_are_vetted_too(context_for, resolver, bad: str):
    resolver.answers["db.example"] = ["203.0.113.7", bad]
    context = context_for(allow=("db.example",), deny=("10.0.0.0/8",))
    assert code(context.resolve, "db.example", 443) is FailureCode.ADDRESS_NOT_ALLOWED


def test_rules_for_ports_hold_for_each_port_of_a_host(context_for, resolver):
    resolver.answers["db.example"] = ["10.0.0.1"]
    context = context_for(allow=("10.0.0.0/8:5432", "db.example:443"), deny=("*:5433",))
    assert context.resolve("db.example", 5432) == (Address("10.0.0.1", 5432),)
    assert context.resolve("db.example", 443) == (Address("10.0.0.1", 443),)
    for port in (5433, 5434):
        assert code(context.resolve, "db.example", port) is FailureCode.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize(
    "answer",
    [
        socket.gaierror(socket.EAI_NONAME, "no such host"),
        socket.gaierror(socket.EAI_AGAIN, "try again"),
        UnicodeError("label too long"),
        ValueError("embedded null"),
        [],
    ],
)
def test_a_name_without_an_address_has_failed_to_resolve(context_for, resolver, answer):
    resolver.answers["nothing.example"] = answer
    context = context_for()
    assert code(context.resolve, "nothing.example", 443) is FailureCode.DNS_FAILED
    assert code(context.resolve, "nothing.example", 443) is FailureCode.DNS_FAILED
    assert resolver.asked == ["nothing.example"]


def test_connecting_tries_each_address(context_for, resolver, events):
    with LoopbackServer(Peer.drain) as server:
        resolver.answers["two.example"] = ["127.0.0.9", "127.0.0.1"]
        connection, address = context_for(allow_loopback=True).connect("two.example", server.port)
        with connection:
            assert address == ("127.0.0.1", server.port)
            assert connection.getpeername() == ("127.0.0.1", server.port)
            assert 8 < connection.gettimeout() <= 9
    assert [getattr(event, "name", None) or event.status for event in events] == [
        "resolve",
        "passed",
        "connect",
        "passed",
    ]


def test_a_port_that_nobody_listens_on_refuses(context_for):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert code(context_for(allow_loopback=True).connect, "127.0.0.1", port) is FailureCode.CONNECT_REFUSED


def test_a_black_hole_leaves_time_for_the_next_address(context_for, resolver, monkeypatch):
    asked = []

    def dial(address, timeout):
        asked.append((address.ip, timeout))
        raise TimeoutError(errno.ETIMEDOUT, "timed out")

    resolver.answers["holes.example"] = ["10.0.0.1", "10.0.0.2"]
    monkeypatch.setattr(socket, "create_connection", dial)
    assert code(context_for(seconds=5).connect, "holes.example", 1) is FailureCode.CONNECT_TIMEOUT
    assert [ip for ip, _ in asked] == ["10.0.0.1", "10.0.0.2"]
    assert asked[0][1] == pytest.approx(2, abs=0.2), "half of the four seconds"
    assert asked[1][1] == pytest.approx(4, abs=0.2), "what the first one left"


def test_running_out_of_descriptors_is_not_taken_for_a_refusal(context_for, monkeypatch):
    def dial(address, timeout):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(socket, "create_connection", dial)
    with pytest.raises(OSError, match="too many"):
        context_for().connect("10.0.0.1", 1)


def test_the_time_of_drivers_ends_a_second_before_the_kill(context_for):
    assert context_for(seconds=10).timeout == pytest.approx(9, abs=0.1)
    assert context_for(seconds=0.5).timeout == 0.1
    assert context_for(seconds=-3).timeout == 0.1


def test_the_systems_name_servers_are_read_as_libraries_read_them(monkeypatch, tmp_path):
    monkeypatch.setattr(addresses, "_RESOLVER_SETTINGS", tmp_path / "resolv.conf")
    assert addresses.nameservers() == {"127.0.0.1"}
    (tmp_path / "resolv.conf").write_text("# by hand\nsearch x\nnameserver 10.0.0.53 # here\nnameserver fe80::1%eth0\n")
    assert addresses.nameservers() == {"10.0.0.53", "fe80::1"}
