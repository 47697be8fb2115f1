"""The parts of Microsoft's TDS protocol (7.4 and 8.0) that a server needs to log a client in and answer its queries.

Names and numbers are those of the open specification [MS-TDS]; section numbers below are its own.
"""

import datetime
import decimal
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# Packet types (2.2.3.1.1).
SQL_BATCH, RPC, TABULAR_RESULT, ATTENTION, TRANSACTION_MANAGER, LOGIN7, PRELOGIN = (
    0x01,
    0x03,
    0x04,
    0x06,
    0x0E,
    0x10,
    0x12,
)
END_OF_MESSAGE = 0x01
HEADER_BYTES = 8

# Values of the PRELOGIN option ENCRYPTION (2.2.6.5).
ENCRYPT_OFF, ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED, ENCRYPT_REQUIRED = 0, 1, 2, 3

# Status bits and tokens of DONE (2.2.7.6).
DONE_MORE, DONE_ERROR, DONE_COUNT, DONE_ATTENTION = 0x01, 0x02, 0x10, 0x20
DONE, DONE_PROCEDURE, DONE_IN_PROCEDURE = 0xFD, 0xFE, 0xFF

TDS_7_4 = 0x74000004
PRODUCT_VERSION = bytes([16, 0, 0x10, 0])  # SQL Server 2022, build 4096
COLLATION = bytes.fromhex("0904d00034")  # SQL_Latin1_General_CP1_CI_AS (2.2.5.1.2)

_PRELOGIN_VERSION, _PRELOGIN_ENCRYPTION, _PRELOGIN_INSTANCE, _PRELOGIN_THREAD, _PRELOGIN_MARS = range(5)
_PRELOGIN_FEDERATED_AUTHENTICATION = 6
_PRELOGIN_END = 0xFF

_EPOCH = datetime.date(1, 1, 1)


class PacketHeader(NamedTuple):
    """The eight bytes before each packet's data; `length` counts them too."""

    kind: int
    status: int
    length: int

    @classmethod
    def parse(cls, header: bytes) -> "PacketHeader":
        return cls(*struct.unpack(">BBH4x", header))


def packets(kind: int, body: bytes, *, packet_size: int, session: int) -> bytes:
    """A message cut into packets."""
    step = packet_size - HEADER_BYTES
    parts = [body[start : start + step] for start in range(0, len(body), step)] or [b""]
    wire = b""
    for number, part in enumerate(parts, start=1):
        status = END_OF_MESSAGE if number == len(parts) else 0
        wire += struct.pack(">BBHHBB", kind, status, len(part) + HEADER_BYTES, session, number % 256, 0) + part
    return wire


def read_prelogin(body: bytes) -> dict[int, bytes]:
    """The options of a PRELOGIN message (2.2.6.5): a table of (option, offset, length), then the data."""
    options, at = {}, 0
    while body[at] != _PRELOGIN_END:
        option, offset, length = struct.unpack_from(">BHH", body, at)
        options[option] = body[offset : offset + length]
        at += 5
    return options


def client_encryption(options: Mapping[int, bytes]) -> int:
    value = options.get(_PRELOGIN_ENCRYPTION)
    return value[0] if value else ENCRYPT_NOT_SUPPORTED


def prelogin_answer(encryption: int, asked: Mapping[int, bytes]) -> bytes:
    options = {
        _PRELOGIN_VERSION: PRODUCT_VERSION + b"\0\0",
        _PRELOGIN_ENCRYPTION: bytes([encryption]),
        _PRELOGIN_INSTANCE: b"\0",
        _PRELOGIN_THREAD: b"",
        _PRELOGIN_MARS: b"\0",
    }
    if _PRELOGIN_FEDERATED_AUTHENTICATION in asked:
        options[_PRELOGIN_FEDERATED_AUTHENTICATION] = b"\0"
    table, data, start = b"", b"", 5 * len(options) + 1
    for option, value in options.items():
        table += struct.pack(">BHH", option, start + len(data), len(value))
        data += value
    return table + bytes([_PRELOGIN_END]) + data


@dataclass(frozen=True)
class LoginRequest:
    """What a LOGIN7 message asks for (2.2.6.4)."""

    user: str
    password: str
    application: str
    database: str
    version: int
    packet_size: int
    wants_feature_answer: bool

    @classmethod
    def parse(cls, body: bytes) -> "LoginRequest":
        def field(at: int) -> bytes:
            offset, characters = struct.unpack_from("<HH", body, at)
            return body[offset : offset + 2 * characters]

        def text(at: int) -> str:
            return field(at).decode("utf-16-le")

        version, packet_size = struct.unpack_from("<II", body, 4)
        # The password is only obscured: each byte XOR 0xA5 with its halves swapped.
        obscured = (byte ^ 0xA5 for byte in field(44))
        password = bytes((byte << 4 & 0xF0) | byte >> 4 for byte in obscured).decode("utf-16-le", "replace")
        return cls(
            user=text(40),
            password=password,
            application=text(48),
            database=text(68),
            version=version,
            packet_size=min(max(packet_size or 4096, 512), 32767),
            wants_feature_answer=bool(body[27] & 0x10),
        )


def login_answer(request: LoginRequest, database: str) -> bytes:
    """The tokens that accept a login: the settings of the session, LOGINACK, DONE."""
    changes = environment_change(1, database, "master")
    changes += information(5701, f"Changed database context to '{database}'.")
    changes += b"\xe3" + struct.pack("<HBB", 8, 7, len(COLLATION)) + COLLATION + b"\0"
    changes += environment_change(2, "us_english") + information(5703, "Changed language setting to us_english.")
    accepted = (
        b"\x01"
        + struct.pack(">I", min(request.version, TDS_7_4))
        + _short_text("Microsoft SQL Server")
        + PRODUCT_VERSION
    )
    answer = changes + b"\xad" + struct.pack("<H", len(accepted)) + accepted
    answer += environment_change(4, str(request.packet_size), "4096")
    if request.wants_feature_answer:
        answer += b"\xae\xff"  # no feature is acknowledged
    return answer + done()


def error(number: int, text: str, *, severity: int = 16) -> bytes:
    return _notice(0xAA, number, severity, text)


def information(number: int, text: str) -> bytes:
    return _notice(0xAB, number, 0, text)


def _notice(token: int, number: int, severity: int, text: str) -> bytes:
    body = struct.pack("<IBB", number, 1, severity) + _text(text) + _short_text("servers.mssql") + _short_text("")
    body += struct.pack("<I", 1)  # line
    return bytes([token]) + struct.pack("<H", len(body)) + body


def environment_change(kind: int, new: str, old: str = "") -> bytes:
    body = bytes([kind]) + _short_text(new) + _short_text(old)
    return b"\xe3" + struct.pack("<H", len(body)) + body


def transaction_change(kind: int, new: bytes, old: bytes) -> bytes:
    """ENVCHANGE 8 (begun), 9 (committed) or 10 (rolled back), with transaction descriptors."""
    body = bytes([kind, len(new)]) + new + bytes([len(old)]) + old
    return b"\xe3" + struct.pack("<H", len(body)) + body


def done(status: int = 0, rows: int = 0, token: int = DONE) -> bytes:
    return struct.pack("<BHHQ", token, status, 0, rows)


def return_status(value: int) -> bytes:
    return b"\x79" + struct.pack("<i", value)


def return_value(value: int) -> bytes:
    """An output parameter of type int."""
    return (
        b"\xac"
        + struct.pack("<H", 0)
        + _short_text("")
        + b"\x01"
        + struct.pack("<IH", 0, 0)
        + b"\x26\x04\x04"
        + struct.pack("<i", value)
    )


def result_set(columns: Sequence["Column"], rows: Sequence[Sequence[object]]) -> bytes:
    """COLMETADATA and ROW tokens (2.2.7.4, 2.2.7.19)."""
    nullable = 0x0001
    parts = [b"\x81" + struct.pack("<H", len(columns))]
    parts += [struct.pack("<IH", 0, nullable) + column.type_info + _short_text(column.name) for column in columns]
    for row in rows:
        parts.append(b"\xd1")
        parts += [column.encode(value) for column, value in zip(columns, row, strict=True)]
    return b"".join(parts)


class Column(NamedTuple):
    """A column of a result: its name, TYPE_INFO (2.2.5.6), and how a value becomes bytes."""

    name: str
    type_info: bytes
    encode: Callable[[object], bytes]


def column(name: str, type_oid: int, precision: int | None = None, scale: int | None = None) -> Column:
    """The TDS column for a column of PostgreSQL, given by `pg_type.oid`. What has no type of its own becomes nvarchar(max)."""
    if type_oid in _FIXED_COLUMNS:
        type_info, encode = _FIXED_COLUMNS[type_oid]
        return Column(name, type_info, _counted(encode))
    if type_oid == 1700:
        digits, places = (precision, scale or 0) if precision and precision <= 38 else (38, 10)
        return Column(name, bytes([0x6C, 17, digits, places]), _counted(lambda value: _decimal(value, places)))
    if type_oid == 17:
        return Column(name, b"\xa5\xff\xff", _partially_counted(bytes))
    return Column(name, b"\xe7\xff\xff" + COLLATION, _partially_counted(lambda value: str(value).encode("utf-16-le")))


def _counted(encode: Callable[[object], bytes]) -> Callable[[object], bytes]:
    """One byte of length before the value; NULL is length 0."""

    def with_length(value: object) -> bytes:
        data = b"" if value is None else encode(value)
        return bytes([len(data)]) + data

    return with_length


def _partially_counted(encode: Callable[[object], bytes]) -> Callable[[object], bytes]:
    """The chunked form of (max) types (2.2.5.2.3), in one chunk."""

    def in_chunks(value: object) -> bytes:
        if value is None:
            return b"\xff" * 8
        data = encode(value)
        chunk = struct.pack("<I", len(data)) + data if data else b""
        return struct.pack("<Q", len(data)) + chunk + struct.pack("<I", 0)

    return in_chunks


def _decimal(value: object, places: int) -> bytes:
    unscaled = int(decimal.Decimal(str(value)).scaleb(places).to_integral_value())
    return bytes([unscaled >= 0]) + abs(unscaled).to_bytes(16, "little")


def _date(value: datetime.date) -> bytes:
    return (value - _EPOCH).days.to_bytes(3, "little")


def _time(value: datetime.time) -> bytes:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return (seconds * 10**7 + value.microsecond * 10).to_bytes(5, "little")


def _datetime(value: datetime.datetime) -> bytes:
    return _time(value.time()) + _date(value.date())


def _datetime_with_offset(value: datetime.datetime) -> bytes:
    utc = value.astimezone(datetime.UTC)
    return _datetime(utc) + struct.pack("<h", int(value.utcoffset().total_seconds() // 60))


# pg_type.oid -> TYPE_INFO and the bytes of a value that is not NULL.
_FIXED_COLUMNS: dict[int, tuple[bytes, Callable]] = {
    16: (b"\x68\x01", lambda value: bytes([value])),  # bool: bit
    20: (b"\x26\x08", lambda value: struct.pack("<q", value)),  # int8: bigint
    21: (b"\x26\x02", lambda value: struct.pack("<h", value)),  # int2: smallint
    23: (b"\x26\x04", lambda value: struct.pack("<i", value)),  # int4: int
    26: (b"\x26\x04", lambda value: struct.pack("<i", value)),  # oid: int
    700: (b"\x6d\x04", lambda value: struct.pack("<f", value)),  # float4: real
    701: (b"\x6d\x08", lambda value: struct.pack("<d", value)),  # float8: float
    1082: (b"\x28", _date),
    1083: (b"\x29\x07", _time),
    1114: (b"\x2a\x07", _datetime),  # timestamp: datetime2
    1184: (b"\x2b\x07", _datetime_with_offset),  # timestamptz: datetimeoffset
    2950: (b"\x24\x10", lambda value: uuid.UUID(str(value)).bytes_le),  # uuid: uniqueidentifier
}


@dataclass(frozen=True)
class Call:
    """A remote procedure call (2.2.6.6): the procedure and its parameters, each with its name (may be empty) and value."""

    procedure: str
    parameters: list[tuple[str, object]]


# Procedures that have a number instead of a name (2.2.6.6).
_PROCEDURE_NUMBERS = {10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute", 13: "sp_prepexec", 15: "sp_unprepare"}


def read_call(body: bytes) -> Call:
    reader = _Reader(body, all_headers_length(body))
    name_length = reader.number("H")
    if name_length == 0xFFFF:
        number = reader.number("H")
        procedure = _PROCEDURE_NUMBERS.get(number, f"procedure {number}")
    else:
        procedure = reader.text(name_length).lower().rpartition(".")[2].strip("[]")
    reader.number("H")  # option flags
    parameters = []
    batch_separators = (0x80, 0xFE, 0xFF)
    while reader.remaining and reader.peek() not in batch_separators:
        name = reader.text(reader.number("B"))
        reader.number("B")  # by reference, default
        parameters.append((name, _read_value(reader)))
    return Call(procedure, parameters)


def all_headers_length(body: bytes) -> int:
    """The length of the ALL_HEADERS part (2.2.5.3) that begins a batch, a call and a transaction request."""
    return struct.unpack_from("<I", body)[0]


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    @property
    def remaining(self) -> bool:
        return self._at < len(self._data)

    def peek(self) -> int:
        return self._data[self._at]

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, layout: str) -> int:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(layout)))[0]

    def text(self, characters: int) -> str:
        return self.take(2 * characters).decode("utf-16-le")


def _read_value(reader: _Reader) -> object:
    """TYPE_INFO and value of a parameter (2.2.5.5, 2.2.5.6); the types that ODBC drivers send."""
    kind = reader.number("B")
    if kind in (0x26, 0x68, 0x6D, 0x24):  # intn, bitn, floatn, uniqueidentifier
        reader.number("B")
        data = reader.take(reader.number("B"))
        if not data:
            return None
        if kind == 0x26:
            return int.from_bytes(data, "little", signed=len(data) > 1)
        if kind == 0x68:
            return bool(data[0])
        if kind == 0x6D:
            return struct.unpack("<f" if len(data) == 4 else "<d", data)[0]
        return str(uuid.UUID(bytes_le=data))
    if kind in (0x6A, 0x6C):  # decimal, numeric
        reader.take(2)
        places = reader.number("B")
        data = reader.take(reader.number("B"))
        sign = 1 if data[:1] == b"\1" else -1
        return decimal.Decimal(sign * int.from_bytes(data[1:], "little")).scaleb(-places) if data else None
    if kind in (0xE7, 0xEF, 0xA7, 0xAF, 0xA5, 0xAD):  # nvarchar, nchar, varchar, char, varbinary, binary
        binary = kind in (0xA5, 0xAD)
        longest = reader.number("H")
        if not binary:
            reader.take(len(COLLATION))
        data = _read_chunks(reader) if longest == 0xFFFF else _read_counted(reader)
        if data is None or binary:
            return data
        return data.decode("utf-16-le" if kind in (0xE7, 0xEF) else "cp1252")
    if kind in (0x63, 0x23, 0x22):  # ntext, text, image
        reader.number("I")
        if kind != 0x22:
            reader.take(len(COLLATION))
        length = reader.number("i")
        data = None if length < 0 else reader.take(length)
        if data is None or kind == 0x22:
            return data
        return data.decode("utf-16-le" if kind == 0x63 else "cp1252")
    raise ValueError(f"TDS type 0x{kind:02x} is not supported by this test server")


def _read_counted(reader: _Reader) -> bytes | None:
    length = reader.number("H")
    return None if length == 0xFFFF else reader.take(length)


def _read_chunks(reader: _Reader) -> bytes | None:
    if reader.number("Q") == 0xFFFFFFFFFFFFFFFF:
        return None
    data = b""
    while length := reader.number("I"):
        data += reader.take(length)
    return data


def _short_text(text: str) -> bytes:
    """B_VARCHAR: one byte with the number of UTF-16 units, then those."""
    data = text.encode("utf-16-le")
    return bytes([len(data) // 2]) + data


def _text(text: str) -> bytes:
    """US_VARCHAR: two bytes with the number of UTF-16 units, then those."""
    data = text.encode("utf-16-le")
    return struct.pack("<H", len(data) // 2) + data
