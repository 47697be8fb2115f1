"""A pinned name means the vetted addresses, and no other name means anything."""

import socket

import pytest

from connectory import Address, pinned

ADDRESSES = (Address("192.0.2.1", 5000), Address("2001:db8::1", 5000))


def test_a_driver_that_resolves_the_name_gets_the_vetted_addresses_and_no_other_host():
    with pinned("Ledger.example", *ADDRESSES):
        for name in ("ledger.example", b"LEDGER.example"):
            answers = socket.getaddrinfo(name, 5000, type=socket.SOCK_STREAM)
            assert [family for family, *_ in answers] == [socket.AF_INET, socket.AF_INET6]
            assert [address[:2] for *_, address in answers] == [tuple(each) for each in ADDRESSES]
        assert socket.getaddrinfo("192.0.2.1", 5000)[0][-1] == ("192.0.2.1", 5000)
        for other in ("elsewhere.example", "localhost", "127.0.0.1"):
            with pytest.raises(socket.gaierror):
                socket.getaddrinfo(other, 5000)


def test_afterwards_names_are_resolved_as_before():
    before = socket.getaddrinfo
    with pytest.raises(ZeroDivisionError), pinned("ledger.example", *ADDRESSES):
        raise ZeroDivisionError
    assert socket.getaddrinfo is before
    assert socket.getaddrinfo("127.0.0.1", 5000, type=socket.SOCK_STREAM)[0][-1] == ("127.0.0.1", 5000)


def test_a_connection_by_name_reaches_the_pinned_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            pinned("ledger.example", Address("127.0.0.1", port)),
            socket.create_connection(("ledger.example", port), 5) as client,
        ):
            assert client.getpeername() == ("127.0.0.1", port)
