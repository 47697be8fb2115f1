"""What may come instead of a vendor's answer. Each takes a connection whose request was read: for `WebServer.misbehave`."""

import struct
import zlib
from collections.abc import Callable
from functools import cache

from testkit.loopback import Peer

DRIP_SECONDS = 0.3
BOMB_BYTES = 300 * 2**20

Misbehaviour = Callable[[Peer], None]


def answers(status: int, body: bytes = b"", **headers: str) -> Misbehaviour:
    """A whole answer of that status. Header names have `_` for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *lines]) + "\r\n\r\n"
    return lambda peer: peer.send(head.encode() + body)


def page() -> Misbehaviour:
    """HTML, as a captive portal or a login page answers."""
    return answers(200, b"<!doctype html><title>Log in</title>", Content_Type="text/html")


def raw(status: int, location: bytes | None, *lines: bytes) -> Misbehaviour:
    """An answer without a body whose `Location` and further header lines are these bytes, whatever they are."""
    head = [b"HTTP/1.1 %d X" % status, b"Content-Length: 0"]
    head += [b"Location: " + location] if location is not None else []
    return lambda peer: peer.send(b"\r\n".join([*head, *lines]) + b"\r\n\r\n")


def drip(peer: Peer) -> None:
    """An answer that comes byte by byte and never ends."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n[")
    while True:
        peer.pause(DRIP_SECONDS)
        peer.send(b" ")


def drip_headers(peer: Peer) -> None:
    """A header that comes byte by byte and never ends."""
    peer.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        peer.pause(DRIP_SECONDS)
        peer.send(b"x")


def flood(peer: Peer) -> None:
    """An answer that does not end, at full speed."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"%x\r\n%s\r\n" % (2**16, b" " * 2**16)
    for _ in range(400 * 16):
        peer.send(chunk)


def gzip_bomb(peer: Peer) -> None:
    """300 MiB of nothing in 300 KiB."""
    answers(200, _bomb(), Content_Type="application/json", Content_Encoding="gzip")(peer)


@cache
def _bomb() -> bytes:
    """One MiB compressed, again and again: what a full flush ends refers to nothing before it. Compressing all takes seconds."""
    part = bytes(2**20)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(BOMB_BYTES // len(part)):
        checksum = zlib.crc32(part, checksum)
    start, end = b"\x1f\x8b\x08" + bytes(7), b"\x03\x00" + struct.pack("<II", checksum, BOMB_BYTES)
    return start + packed * (BOMB_BYTES // len(part)) + end


def silence(peer: Peer) -> None:
    """No answer at all."""
    peer.drain()


def hang_up(peer: Peer) -> None:
    """The connection closed in the middle of a header."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-")


def other_protocol(peer: Peer) -> None:
    """Something else than HTTP."""
    peer.send(b"-ERR unknown command\r\n")
