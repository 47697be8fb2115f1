"""Far ends that let Redshift's driver in and misbehave afterwards, to be used like those of `testkit.hostile`.

The driver sends every query in the extended protocol, which the `postgres_` far ends do not answer.
"""

from collections.abc import Callable

from servers.postgres import wire
from testkit.hostile import FLOOD_BYTES
from testkit.loopback import LoopbackServer, Peer

TEXT = 25
INT2VECTOR = 22
"""A type whose text the driver once evaluated as Python (CVE-2026-8838)."""

_ROW_BYTES = 64 * 1024


def answers_query(value: bytes, *, kind: int = TEXT) -> LoopbackServer:
    """Lets anybody in and answers every query with one row that holds `value` of the type `kind`."""
    return _redshift("answers a query", lambda peer: _answer(peer, kind, value, rows=1))


def floods_the_answer(limit: int = FLOOD_BYTES) -> LoopbackServer:
    """Lets anybody in and answers every query with rows of 64 KiB until `limit` bytes are sent or the client is gone."""
    rows = limit // _ROW_BYTES
    return _redshift("floods the answer", lambda peer: _answer(peer, TEXT, b"x" * _ROW_BYTES, rows=rows))


def asks_for_login(method: int, data: bytes = b"") -> LoopbackServer:
    """Asks for a login by the authentication method of this number."""

    def handle(peer: Peer) -> None:
        wire.read_startup(peer)
        peer.send(wire.message(b"R", method.to_bytes(4, "big") + data))
        peer.drain()

    return LoopbackServer(handle, name=f"Redshift, asks for login {method}")


def malformed(reply: bytes) -> LoopbackServer:
    """Answers the start-up packet with these bytes."""

    def handle(peer: Peer) -> None:
        wire.read_startup(peer)
        peer.send(reply)

    return LoopbackServer(handle, name="Redshift, malformed")


def _redshift(behaviour: str, answer: Callable[[Peer], None]) -> LoopbackServer:
    def handle(peer: Peer) -> None:
        wire.read_startup(peer)
        peer.send(wire.session_open())
        answer(peer)

    return LoopbackServer(handle, name=f"Redshift, {behaviour}")


def _answer(peer: Peer, kind: int, value: bytes, *, rows: int) -> None:
    """Describe, and then give, one column to every query until the client says goodbye."""
    for messages in iter(lambda: _until_sync(peer), ""):
        if "P" in messages:
            peer.send(wire.message(b"1") + wire.message(b"t", b"\0\0") + wire.row_description("x", kind=kind))
        else:
            peer.send(wire.message(b"2"))
            for _ in range(rows):
                peer.send(wire.data_row(value))
            peer.send(wire.command_complete(f"SELECT {rows}"))
        peer.send(wire.ready_for_query())


def _until_sync(peer: Peer) -> str:
    """The types of the client's messages up to the next Sync; nothing once it says goodbye."""
    seen = ""
    while not seen.endswith("S"):
        seen += wire.read_message(peer)[0].decode()
        if seen.endswith("X"):
            return ""
    return seen
