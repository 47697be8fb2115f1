"""The few packets of MySQL's protocol that our fronts and hostile servers speak.

Formats: MySQL source code documentation, chapter "Client/Server Protocol" (HandshakeV10, AuthSwitchRequest, ERR_Packet,
OK_Packet, Text Resultset).
"""

import struct

from testkit.loopback import Peer

# Capability flags (page "Capabilities Flags").
CONNECT_WITH_DB = 0x00000008
PROTOCOL_41 = 0x00000200
SSL = 0x00000800
SECURE_CONNECTION = 0x00008000
PLUGIN_AUTH = 0x00080000
CONNECT_ATTRIBUTES = 0x00100000

# Commands (page "Command Phase").
COM_QUIT = 0x01
COM_QUERY = 0x03

_UTF8MB4_GENERAL_CI = 45
_AUTOCOMMIT = b"\x02\x00"
_VAR_STRING = 0xFD


class Packets:
    """MySQL's packets on one connection: three bytes of length, one of sequence number, payload."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._sequence = 0

    def read(self) -> bytes:
        header = self.peer.read(4)
        self._sequence = (header[3] + 1) % 256
        return self.peer.read(int.from_bytes(header[:3], "little"))

    def write(self, payload: bytes) -> None:
        self.peer.send(len(payload).to_bytes(3, "little") + bytes([self._sequence]) + payload)
        self._sequence = (self._sequence + 1) % 256


def greeting(
    version: str,
    capabilities: int,
    nonce: bytes,
    method: str,
    *,
    thread_id: bytes = b"\x01\x00\x00\x00",
    status: bytes = _AUTOCOMMIT,
) -> bytes:
    """What a server says first. `nonce` has 20 bytes, none of them NUL; `method` is its default way of logging in."""
    return b"".join(
        (
            b"\x0a" + version.encode() + b"\0" + thread_id + nonce[:8] + b"\0",
            struct.pack("<HB", capabilities & 0xFFFF, 255) + status,
            struct.pack("<HB", capabilities >> 16, len(nonce) + 1) + bytes(10),
            nonce[8:] + b"\0" + method.encode() + b"\0",
        )
    )


def switch_to(method: str, data: bytes) -> bytes:
    """The server's choice of another way of logging in."""
    return b"\xfe" + method.encode() + b"\0" + data


def more_data(data: bytes) -> bytes:
    """A message within a way of logging in."""
    return b"\x01" + data


def ok() -> bytes:
    return b"\x00\x00\x00" + _AUTOCOMMIT + b"\x00\x00"


def error(number: int, sqlstate: str, text: str) -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#" + sqlstate.encode() + text.encode()


def end_of_part() -> bytes:
    """What closes the columns, and then the rows, of a result."""
    return b"\xfe\x00\x00" + _AUTOCOMMIT


def request_for_file(path: str) -> bytes:
    """The answer to a query that asks the client for one of its own files (LOCAL INFILE)."""
    return b"\xfb" + path.encode()


def column(name: str) -> bytes:
    """The definition of one column of text."""
    texts = [b"def", b"", b"", b"", name.encode(), b""]
    fixed = struct.pack("<BHIBHBxx", 0x0C, _UTF8MB4_GENERAL_CI, 1 << 24, _VAR_STRING, 0, 0)
    return b"".join(bytes([len(text)]) + text for text in texts) + fixed


def row(value: bytes) -> bytes:
    """A row of one value of fewer than 2^24 bytes."""
    return b"\xfd" + len(value).to_bytes(3, "little") + value
