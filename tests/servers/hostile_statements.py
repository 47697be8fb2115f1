"""Servers that let anybody in, answer what a session begins with as their product does, and misbehave from then on.

Each behaviour is said twice, in PostgreSQL's protocol and in MySQL's, because each driver reads by itself.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from servers.mysql import wire as mysql_wire
from servers.postgres import wire
from testkit.hostile import DRIP_SECONDS
from testkit.loopback import LoopbackServer, Peer

_MIB = b"x" * 2**20
_INT4, _INT, _VAR_STRING = 23, 3, 253
_TWO_COLUMNS = b"\0\2" + 2 * (struct.pack("!i", 1) + b"1")

Answer = Callable[[Peer], None]


def postgres(behaviour: str) -> LoopbackServer:
    """A PostgreSQL that answers like this when it is asked what there is, and for rows."""

    def handle(peer: Peer) -> None:
        if wire.read_startup(peer).code != wire.PROTOCOL_3_0:
            return
        peer.send(wire.session_open())
        while True:
            kind, body = wire.read_message(peer)
            if kind == b"X":
                return
            statement = body.rstrip(b"\0").decode().strip()
            if statement.startswith("FETCH") or "pg_catalog.pg_class" in statement:
                _POSTGRES[behaviour](peer)
            elif statement.startswith("SELECT"):
                peer.send(wire.row_description("x") + wire.data_row(b"1") + _complete("SELECT 1"))
            else:
                peer.send(_complete(statement.split(maxsplit=1)[0].upper()))

    return LoopbackServer(handle, name=f"PostgreSQL, {behaviour}")


def _complete(tag: str) -> bytes:
    return wire.command_complete(tag) + wire.ready_for_query()


def _postgres_rows(peer: Peer, *rows: bytes, kind: int = 25) -> None:
    peer.send(wire.row_description("x", kind=kind) + b"".join(rows) + _complete(f"SELECT {len(rows)}"))


def _postgres_flood(peer: Peer) -> None:
    peer.send(wire.row_description("x"))
    while True:
        peer.send(wire.data_row(_MIB))


def _postgres_gibibyte(peer: Peer) -> None:
    peer.send(wire.row_description("x") + b"D" + struct.pack("!Ihi", 2**30 + 10, 1, 2**30))
    while True:
        peer.send(_MIB)


def _postgres_drip(peer: Peer) -> None:
    _drip(peer, wire.row_description("x") + b"D" + struct.pack("!Ihi", 2010, 1, 2000))


_POSTGRES: dict[str, Answer] = {
    "endless rows": lambda peer: _postgres_rows(peer, *[wire.data_row(b"x")] * 50),
    "a flood": _postgres_flood,
    "a gibibyte": _postgres_gibibyte,
    "a drip": _postgres_drip,
    "wrong types": lambda peer: _postgres_rows(peer, wire.data_row(b"x"), kind=_INT4),
    "more columns": lambda peer: _postgres_rows(peer, wire.data_row(b"1"), wire.message(b"D", _TWO_COLUMNS)),
}


def mysql(behaviour: str) -> LoopbackServer:
    """A MySQL that answers like this when it is asked what there is, and for rows."""

    def handle(peer: Peer) -> None:
        client = mysql_wire.Packets(peer)
        capabilities = mysql_wire.PROTOCOL_41 | mysql_wire.SECURE_CONNECTION | mysql_wire.PLUGIN_AUTH
        client.write(mysql_wire.greeting("8.0.42", capabilities, b"0123456789abcdefghij", "mysql_native_password"))
        client.read()
        client.write(mysql_wire.ok())
        while (command := client.read())[0] != mysql_wire.COM_QUIT:
            statement = command[1:].decode(errors="replace").strip()
            if command[0] != mysql_wire.COM_QUERY or not statement.startswith("SELECT"):
                client.write(mysql_wire.ok())
            elif "VERSION()" in statement:
                _mysql_result(client, [mysql_wire.row(b"8.0.42") + mysql_wire.row(b"7@here")], columns=2)
            elif "@@hostname" in statement:
                _mysql_result(client, [mysql_wire.row(b"here")])
            else:
                _MYSQL[behaviour](client)

    return LoopbackServer(handle, name=f"MySQL, {behaviour}")


def _mysql_result(
    client: mysql_wire.Packets, rows: Iterable[bytes], *, columns: int = 1, kind: int = _VAR_STRING
) -> None:
    client.write(bytes([columns]))
    for _ in range(columns):
        described = mysql_wire.column("x")
        client.write(described[:-6] + bytes([kind]) + described[-5:])
    client.write(mysql_wire.end_of_part())
    for row in rows:
        client.write(row)
    client.write(mysql_wire.end_of_part())


def _mysql_gibibyte(client: mysql_wire.Packets) -> None:
    """Packets of the greatest length, which say that there is more to come."""

    def rows() -> Iterator[bytes]:
        for number in count(4):
            client.peer.send(b"\xff\xff\xff" + bytes([number % 256]) + _MIB[1:])
            for _ in range(15):
                client.peer.send(_MIB)
        yield b""

    _mysql_result(client, rows())


def _mysql_drip(client: mysql_wire.Packets) -> None:
    def rows() -> Iterator[bytes]:
        _drip(client.peer, b"\xd0\x07\0\4\xfc\xcd\x07")
        yield b""

    _mysql_result(client, rows())


_MYSQL: dict[str, Callable[[mysql_wire.Packets], None]] = {
    "endless rows": lambda client: _mysql_result(client, (mysql_wire.row(b"x") for _ in count())),
    "a flood": lambda client: _mysql_result(client, (mysql_wire.row(_MIB) for _ in count())),
    "a gibibyte": _mysql_gibibyte,
    "a drip": _mysql_drip,
    "wrong types": lambda client: _mysql_result(client, [mysql_wire.row(b"x")], kind=_INT),
    "more columns": lambda client: _mysql_result(client, [mysql_wire.row(b"1"), b"\x01"]),
}


def _drip(peer: Peer, opening: bytes) -> None:
    for byte in opening:
        peer.send(bytes([byte]))
        peer.pause(DRIP_SECONDS / 10)
    while True:
        peer.send(b"x")
        peer.pause(DRIP_SECONDS)
