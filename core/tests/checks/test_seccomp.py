"""What the filter of system calls leaves a process, and what it refuses."""

import ctypes
import errno
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from connectory.checks import privileges, seccomp

pytestmark = pytest.mark.skipif(not seccomp.available(), reason="there is no filter for this machine")

libc = ctypes.CDLL(None, use_errno=True)
INET, INET6, NETLINK, STREAM, DGRAM, RAW = (
    *(socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK),
    *(socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW),
)
FAST_OPEN = 0x20000000


def filtered(ask: Callable[[], object]) -> object:
    """What `ask` gives in a process of its own that has given up what it does not need."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        with suppress(BaseException):
            privileges.no_new_privileges()
            seccomp.give_up()
            os.write(writer, json.dumps(ask()).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    with os.fdopen(reader) as answer:
        return json.load(answer)


def error_of(result: int) -> str | None:
    return None if result >= 0 else errno.errorcode[ctypes.get_errno()]


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ((INET, STREAM, 0), False),
        ((INET6, STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP), False),
        ((INET, DGRAM, socket.IPPROTO_UDP), False),
        ((NETLINK, RAW, socket.NETLINK_ROUTE), False),
        ((INET, STREAM, 262), True),  # MPTCP
        ((INET, STREAM, socket.IPPROTO_SCTP), True),
        ((INET, DGRAM, socket.IPPROTO_ICMP), True),
        ((INET, RAW, socket.IPPROTO_ICMP), True),
        ((NETLINK, RAW, 12), True),  # netfilter
        ((socket.AF_UNIX, STREAM, 0), True),
        ((socket.AF_VSOCK, STREAM, 0), True),
        ((socket.AF_PACKET, RAW, 0), True),
        ((socket.AF_ALG, socket.SOCK_SEQPACKET, 0), True),
        ((43, STREAM, 0), True),  # SMC, which is TCP by another name
    ],
)
def test_sockets_are_those_of_tcp_udp_and_routes(arguments: tuple[int, int, int], refused: bool):
    assert filtered(lambda: error_of(libc.socket(*arguments))) == ("EACCES" if refused else None)


def test_pairs_are_those_that_stay_connected_to_each_other():
    """One of datagrams sends to any Unix socket by its path: the system log's, a service manager's."""
    kinds = [STREAM, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC, DGRAM, DGRAM | socket.SOCK_NONBLOCK, RAW]
    ends = (ctypes.c_int * 2)()
    answers = filtered(lambda: [error_of(libc.socketpair(socket.AF_UNIX, kind, 0, ends)) for kind in kinds])
    assert answers == [None, None, "EACCES", "EACCES", "EACCES"]


@pytest.mark.parametrize("family", [INET, INET6])
def test_datagrams_are_given_up_apart(family: int):
    """And the C library's own question to the kernel for addresses stays, in both of its ways."""

    def ask() -> list[str | None]:
        seccomp.give_up_datagrams()
        kinds = [(family, DGRAM | socket.SOCK_NONBLOCK), (family, STREAM), (NETLINK, RAW), (NETLINK, DGRAM)]
        return [error_of(libc.socket(*kind, 0)) for kind in kinds]

    assert filtered(ask) == ["EACCES", None, None, None]


def test_what_drivers_do_not_need_is_refused():
    calls = seccomp._BY_MACHINE[os.uname().machine]
    nothing = [0] * 6

    def ask() -> list[str | None]:
        needless = [error_of(libc.syscall(number, *nothing)) for number in (*seccomp._EVERYWHERE, *calls.needless)]
        needless += [error_of(libc.syscall(number, os.getppid(), 0, 0, 0)) for number in calls.of_oneself]
        return [
            *needless,
            error_of(libc.syscall(calls.clone, 0x10000000 | 17, 0, 0, 0, 0)),
            error_of(libc.syscall(435, 0, 0)),
        ]

    *needless, namespace, clone3 = filtered(ask)
    assert {*needless, namespace} == {"EACCES"}
    assert clone3 == "ENOSYS", "the C library then takes the call whose flags are looked at"


@pytest.mark.parametrize("send", ["sendto", "sendmsg"])
def test_a_connection_is_not_begun_by_sending(send: str):
    def ask() -> str:
        with socket.create_server(("127.0.0.1", 0)) as far_end, socket.socket() as one:
            address = far_end.getsockname()
            try:
                one.sendto(b"x", FAST_OPEN, address) if send == "sendto" else one.sendmsg(
                    [b"x"], [], FAST_OPEN, address
                )
            except PermissionError:
                return "refused"
            return "sent"

    assert filtered(ask) == "refused"


def test_what_drivers_do_goes_on():
    def ask() -> list[object]:
        threads = [threading.Thread(target=lambda: None) for _ in range(3)]
        for thread in threads:
            thread.start()
            thread.join()
        ends = socket.socketpair()
        ends[0].sendmsg([b"said"])
        with socket.create_server(("127.0.0.1", 0)) as far_end, socket.create_connection(far_end.getsockname()) as one:
            one.sendall(b"x")
        found = socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        program = subprocess.run(["/bin/echo", "run"], capture_output=True, text=True, check=True).stdout
        return [
            ends[1].recv(4).decode(),
            bool(found),
            program,
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1],
        ]

    assert filtered(ask) == ["said", True, "run\n", 0]
