"""How a test connects where the kernel lets its process connect to the ports of its own connection only."""

import errno
import socket

import pytest

from connectory.checks import landlock
from connectory.checks.dialling import dialled
from connectory.checks.egress import EgressPolicy
from connectory.checks.line import Dial
from connectory.checks.lookups import decode_answer
from connectory.checks.native_ports import native_ports
from connectory.checks.wire import ProtocolViolation
from testkit.loopback import LoopbackServer, Peer

needs_landlock = pytest.mark.skipif(not landlock.knows_tcp(), reason="this kernel's Landlock does not limit TCP")
FIELDS = """
from connectory import Host, Port, UrlGrammar
from typing import Annotated
from pydantic import Field

class Placed(Secrets):
    connectory_url = UrlGrammar(schemes={"made": {}}, username=None, password=None, path=())
    host: Host
    port: Port = 5432
    token: SecretText | None = None
    replicas: Annotated[int, Field(ge=1)] = 9000

@hookimpl
def connectory_secret_schema():
    return Placed

@hookimpl
def connectory_describe():
    return Description(native_ports=(7444,))
"""


def hello(peer: Peer) -> None:
    peer.send(b"hello")


@pytest.fixture
def far_end():
    with LoopbackServer(hello) as server:
        yield server


@pytest.fixture
def nobody():
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield free.getsockname()[1]


@pytest.mark.parametrize(
    ("document", "ports"),
    [
        ({"host": "h"}, {5432}),
        ({"host": "h", "port": 7000, "replicas": 9000}, {7000}),
        ({"url": "made://u:p%40:1@h:7001/d"}, {5432, 7001}),
        ({"url": "made://u:80@h/d"}, {5432}),
        ({"url": "made://[2001:db8::1]:7002"}, {5432, 7002}),
        ({"url": "made://h/d:7003"}, {5432}),
        ({"port": None}, set()),
    ],
)
def test_native_code_may_connect_to_the_ports_that_its_connection_names(connector_of, document, ports):
    """And to those that the connector names."""
    assert set(native_ports(connector_of(hooks=FIELDS), document)) == {7444, *ports}


def test_the_service_connects_where_the_policy_allows_it(far_end, nobody):
    policy = EgressPolicy(allow_loopback=True, deny=("127.0.0.3/32", "closed.example"))
    error, made = dialled(policy, Dial("127.0.0.1", far_end.port, ""))
    assert error in (0, errno.EINPROGRESS)
    assert made is not None
    with made:
        made.settimeout(30)
        assert made.recv(5) == b"hello"
    assert dialled(policy, Dial("127.0.0.3", far_end.port, "")) == (errno.EACCES, None)
    assert dialled(policy, Dial("127.0.0.1", far_end.port, "closed.example")) == (errno.EACCES, None)
    assert dialled(policy, Dial("169.254.169.254", 80, "")) == (errno.EACCES, None)
    assert dialled(policy, Dial("not an address", 80, "")) == (errno.EACCES, None)
    assert dialled(EgressPolicy(), Dial("127.0.0.1", far_end.port, "")) == (errno.EACCES, None)


def test_a_name_that_is_allowed_is_allowed_with_its_addresses(far_end):
    policy = EgressPolicy(allow_loopback=True, allow=(f"open.example:{far_end.port}",))
    assert dialled(policy, Dial("127.0.0.1", far_end.port, "")) == (errno.EACCES, None)
    error, made = dialled(policy, Dial("127.0.0.1", far_end.port, "open.example"))
    assert error in (0, errno.EINPROGRESS)
    assert made is not None
    made.close()


@pytest.mark.parametrize(
    "asked", [("1" * 51, 1, ""), ("::1", 0, ""), ("::1", True, ""), ("::1", 65536, ""), ("::1", 1, "n" * 256)]
)
def test_what_is_no_request_is_refused(asked):
    with pytest.raises(ProtocolViolation):
        Dial(*asked)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b'{"answer": "resolved", "ips": [], "canonical": ""}',
        b'{"answer": "resolved", "ips": "1", "canonical": ""}',
        b'{"answer": "resolved", "ips": ["%s"], "canonical": ""}' % (b"1" * 51),
        b'{"answer": "resolved", "ips": ["::1"], "canonical": null}',
        b'{"answer": "resolved", "canonical": ""}',
        b'{"answer": "unresolved", "error": true}',
        b'{"answer": "unresolved", "error": 4096}',
    ],
)
def test_what_is_no_answer_of_a_look_up_is_refused(answer):
    with pytest.raises(ProtocolViolation):
        decode_answer(answer)


# What Python code sees. The port of the far end is none of the connection's own, so that the service connects.
BEFORE = """
import ctypes, errno, select, socket
context.resolve('127.0.0.1', {port})
address, libc = ('127.0.0.1', {port}), ctypes.CDLL(None, use_errno=True)
def by_native_code(port):
    packed = (2).to_bytes(2, 'little') + port.to_bytes(2, 'big') + bytes([127, 0, 0, 1] + [0] * 8)
    return libc.connect(libc.socket(2, 1, 0), packed, 16)
"""
WAYS = {
    "a socket that blocks": "one = socket.socket()\none.connect(address)\nassert one.gettimeout() is None",
    "a socket with a time-out": "one = socket.create_connection(address, timeout=30)\nassert one.gettimeout() == 30",
    "connect_ex": "one = socket.socket()\none.settimeout(30)\nassert one.connect_ex(address) == 0",
    "a socket that does not block": """
one = socket.socket()
one.setblocking(False)
try:
    one.connect(address)
except BlockingIOError as begun:
    assert begun.errno == errno.EINPROGRESS
select.select([], [one], [], 30)
assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and not one.getblocking()
one.settimeout(30)
""",
    "a socket with options": """
one = socket.socket()
one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
one.connect(address)
assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
""",
    "from several threads": """
import threading
made = []
threads = [threading.Thread(target=lambda: made.append(socket.create_connection(address, 30))) for _ in range(8)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert len({one.fileno() for one in made}) == 8 and all(one.recv(5) == b'hello' for one in made[1:])
one = made[0]
""",
}


@needs_landlock
@pytest.mark.parametrize("way", WAYS)
def test_python_code_connects_and_native_code_does_not(check, far_end, way):
    script = (
        BEFORE
        + "assert by_native_code({port}) < 0 and ctypes.get_errno() == errno.EACCES\n"
        + "{way}\nassert one.recv(5) == b'hello'"
    )
    assert check(script.format(port=far_end.port, way=WAYS[way])).status == "succeeded"


@needs_landlock
def test_what_goes_wrong_is_told_as_usual(check, nobody):
    script = """
        try:
            socket.create_connection(address, timeout=30)
        except ConnectionRefusedError:
            pass
        else:
            raise AssertionError
        assert socket.socket().connect_ex(address) == errno.ECONNREFUSED
        """
    assert check(BEFORE.format(port=nobody) + "\n".join(line[8:] for line in script.splitlines())).status == "succeeded"


@needs_landlock
def test_native_code_connects_to_the_relay_of_its_own_process(check, far_end):
    script = """
relays = [socket.create_server(('127.0.0.1', 0)) for _ in range(3)]
assert all(by_native_code(relay.getsockname()[1]) >= 0 and relay.accept() for relay in relays)
[relay.close() for relay in relays]
relay = socket.create_server(('127.0.0.1', 0))
assert by_native_code(relay.getsockname()[1]) >= 0
"""
    assert check(BEFORE.format(port=far_end.port) + script).status == "succeeded"


@needs_landlock
def test_code_that_asks_by_itself_gets_no_further_than_the_policy(check, far_end):
    """And not without end: the line is closed in the end, which fails what that test does and nothing else."""
    script = """
import json, os, stat
[line] = [one for one in range(3, 50) if _is_line(one)]
line = socket.socket(fileno=line)
def ask(**dial):
    line.send(json.dumps({"request": "dial", **dial}).encode())
    return socket.recv_fds(line, 4, 1)[:2]
assert ask(ip="127.0.0.2", port=80, name="") == ((13).to_bytes(4, "big"), [])
assert ask(ip="169.254.169.254", port=80, name="") == ((13).to_bytes(4, "big"), [])
answers = 0
try:
    while ask(ip="127.0.0.2", port=80, name="")[0]:
        answers += 1
except OSError:
    pass
assert answers == 254, answers
"""
    is_line = """
def _is_line(number):
    import os, stat
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False
"""
    policy = EgressPolicy(allow_loopback=True, deny=("127.0.0.2",))
    assert check(BEFORE.format(port=far_end.port) + is_line + script, policy=policy).status == "succeeded"
    assert check("pass", policy=policy).status == "succeeded"
