"""The beginning of a conversation with SQL Server, and a relay that lets an ODBC driver carry it on.

An ODBC driver is native code: it reports why a login failed only as text, verifies certificates in its own ways, and goes
wherever the server's answer to the login sends it (ENVCHANGE type 20, "routing"), before it has logged in and unseen by the
service's egress rules. So the first packets and TLS are handled here, the driver connects to a relay of this process on
loopback, and the relay reads the answer to the login before the driver does.

Facts are from Microsoft's protocol specification [MS-TDS], sections "Packet Header", "PRELOGIN", "LOGIN7" and "Packet Data Token
Stream Definition".
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Self

from connectory import CheckFailed, FailureCode
from connectory.toolkit import tls_failure

_HEADER = struct.Struct(">BBHHBB")  # kind, status, length, process, number, window
_END_OF_MESSAGE = 0x01
_RESPONSE, _LOGIN7, _PRELOGIN = 0x04, 0x10, 0x12
_PACKET_SIZE = 4096  # until the login has agreed on another
_MESSAGE_LIMIT = 128 * 1024  # bytes; the longest LOGIN7 that there is, and far more than any answer to it
_CHUNK = 32 * 1024

_VERSION, _ENCRYPTION, _INSTANCE, _THREAD, _MARS = range(5)
_TERMINATOR = 0xFF
_ENCRYPT_ON, _ENCRYPT_NOT_SUPPORTED, _ENCRYPT_REQUIRED = 1, 2, 3
_SERVER_NAME_AT = 52  # in LOGIN7: where its offset and length stand

_ERROR, _LOGINACK, _FEATUREEXTACK, _ENVCHANGE = 0xAA, 0xAD, 0xAE, 0xE3
_ROUTING = 20
_SHORT_TOKENS = {_ERROR, 0xAB, _LOGINACK, _ENVCHANGE, 0xA9, 0xED}  # followed by a length of two bytes
_LONG_TOKENS = {0xE4, 0xEE}  # by one of four
_FIXED_TOKENS = {0xFD: 12, 0xFE: 12, 0xFF: 12, 0x79: 4}


class LoginAnswer(NamedTuple):
    """What the server said to a login: whether it accepted, the numbers of its errors, and whether it named another server."""

    accepted: bool
    errors: tuple[int, ...]
    redirected: bool


class NoEncryption(Exception):
    """The server does not offer TLS."""


class Session:
    """A connection to a server through TLS.

    Attributes:
        socket: the connection itself; closing it ends the session.
        tls: what encrypts it.
        version: the server's, six bytes as in PRELOGIN.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, name: str) -> None:
        """Say hello, and encrypt.

        Args:
            connection: a new connection, with a timeout.
            context: how to verify the server.
            name: the server's name, for TLS.

        Raises:
            CheckFailed: `protocol_mismatch`, `tls_failed` or `tls_untrusted`.
            NoEncryption: the server does not offer TLS.
            TimeoutError: it does not answer.
        """
        # Below TDS 8.0 a handshake travels in TDS packets, and servers end it at TLS 1.2.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.socket = connection
        self._receive_plain = partial(_receive, connection)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        connection.sendall(_packets(_PRELOGIN, _prelogin({_VERSION: bytes(6), _ENCRYPTION: bytes([_ENCRYPT_ON])})))
        self.version = self._agree_to_encrypt()
        self._shake_hands()

    def _agree_to_encrypt(self) -> bytes:
        """Read the server's side of PRELOGIN, and return its version."""
        try:
            options = _prelogin_options(_read_message(self._receive_plain, {_RESPONSE}).body)
        except (ConnectionError, EOFError, struct.error, IndexError) as error:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error
        encryption = options.get(_ENCRYPTION, b"")
        if len(encryption) != 1 or len(options.get(_VERSION, b"")) != 6:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
        if encryption[0] not in {_ENCRYPT_ON, _ENCRYPT_REQUIRED}:
            raise NoEncryption
        return options[_VERSION]

    def _shake_hands(self) -> None:
        try:
            while True:
                try:
                    self.tls.do_handshake()
                    finished = True
                except ssl.SSLWantReadError:
                    finished = False
                if records := self._outgoing.read():
                    self.socket.sendall(_packets(_PRELOGIN, records))
                if finished:
                    return
                self._incoming.write(_read_message(self._receive_plain, {_PRELOGIN, _RESPONSE}).body)
        except EOFError as error:
            raise CheckFailed(FailureCode.TLS_FAILED) from error
        except OSError as error:
            raise CheckFailed(tls_failure(error)) from error

    def receive(self, limit: int = _CHUNK) -> bytes:
        """At least one decrypted byte, at most `limit`; EOFError at the end."""
        while True:
            if data := self.pending(limit):
                return data
            self._incoming.write(self._receive_plain(_CHUNK))

    def pending(self, limit: int = _CHUNK) -> bytes:
        """What has come and is decrypted; maybe nothing."""
        try:
            return self.tls.read(limit)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLZeroReturnError as error:
            raise EOFError from error

    def send(self, data: bytes) -> None:
        """Encrypt and send `data`."""
        self.tls.write(data)
        self.socket.sendall(self._outgoing.read())


class Relay:
    """A port on loopback for one connection of one driver, which is carried on over `session`. A context manager.

    Attributes:
        port: where the driver shall connect to, on 127.0.0.1.
        answer: what the server answered to the driver's login; `None` as long as it has not.
        abandoned: whether the server hung up before it answered, or answered something else.
    """

    def __init__(self, session: Session, server_name: str) -> None:
        """Listen. `server_name` replaces the driver's name for the server in its login: some services go by it."""
        self.answer: LoginAnswer | None = None
        self.abandoned = False
        self._session = session
        self._server_name = server_name
        self._driver: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="tds-relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, self._driver, self._session.socket):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # wakes the thread, which close alone would not
        self._thread.join()
        self._listener.close()
        self._session.socket.close()

    def _serve(self) -> None:
        # Another process of this machine may connect before the driver does. The port stays ours even then: whoever had it
        # would be sent the driver's login.
        with suppress(OSError):
            login = None
            while login is None:
                self._driver, _ = self._listener.accept()
                with self._driver as driver:
                    login = self._read_login(driver)
                    if login is not None and self._log_in(driver, login):
                        self._carry(driver)

    def _read_login(self, driver: socket.socket) -> bytes | None:
        """The body of the driver's login; `None` where somebody hangs up before it, or is not a driver."""
        receive = partial(_receive, driver)
        try:
            _read_message(receive, {_PRELOGIN})  # what it asks for does not matter: encryption is our own business
            ours = {_VERSION: self._session.version, _ENCRYPTION: bytes([_ENCRYPT_NOT_SUPPORTED])}
            driver.sendall(_packets(_RESPONSE, _prelogin(ours | {_INSTANCE: b"\0", _THREAD: b"", _MARS: b"\0"})))
            return _read_message(receive, {_LOGIN7}).body
        except (ConnectionError, EOFError):
            return None

    def _log_in(self, driver: socket.socket, login: bytes) -> bool:
        """Take the driver's login to the server and, unless it sends the driver elsewhere, the answer back."""
        self._session.send(_packets(_LOGIN7, _with_server_name(login, self._server_name)))
        try:
            message = _read_message(self._session.receive, {_RESPONSE})
            self.answer = _read_login_answer(message.body)
        except TimeoutError:
            return False
        except (OSError, EOFError, struct.error, IndexError):
            self.abandoned = True
            return False
        if self.answer.redirected:
            return False
        driver.sendall(message.packets)
        return True

    def _carry(self, driver: socket.socket) -> None:
        server = self._session.socket
        with suppress(EOFError):
            while True:
                readable, _, _ = select.select([driver, server], [], [])
                if driver in readable:
                    if not (data := driver.recv(_CHUNK)):
                        return
                    self._session.send(data)
                if server in readable:
                    data = self._session.receive()
                    while data:
                        driver.sendall(data)
                        data = self._session.pending()


class _Message(NamedTuple):
    body: bytes
    packets: bytes


def _receive(connection: socket.socket, limit: int) -> bytes:
    """At least one byte, at most `limit`; EOFError at the end."""
    if not (data := connection.recv(limit)):
        raise EOFError
    return data


def _read_message(receive: Callable[[int], bytes], kinds: set[int]) -> _Message:
    """One message of one of these kinds, and not a byte more; EOFError where something else comes."""

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += receive(count - len(data))
        return data

    body, packets = b"", b""
    while True:
        head = read(_HEADER.size)
        kind, status, length, *_ = _HEADER.unpack(head)
        if kind not in kinds or length < _HEADER.size or len(body) + length > _MESSAGE_LIMIT:
            raise EOFError
        part = read(length - _HEADER.size)
        body, packets = body + part, packets + head + part
        if status & _END_OF_MESSAGE:
            return _Message(body, packets)


def _packets(kind: int, body: bytes) -> bytes:
    """`body` as one message."""
    step = _PACKET_SIZE - _HEADER.size
    parts = [body[start : start + step] for start in range(0, len(body), step)]
    return b"".join(
        _HEADER.pack(kind, number == len(parts), len(part) + _HEADER.size, 0, number % 256, 0) + part
        for number, part in enumerate(parts, start=1)
    )


def _prelogin(options: dict[int, bytes]) -> bytes:
    """The body of a PRELOGIN message: a table of offsets, and the values."""
    table, values = b"", b""
    start = 5 * len(options) + 1
    for option, value in options.items():
        table += struct.pack(">BHH", option, start + len(values), len(value))
        values += value
    return table + bytes([_TERMINATOR]) + values


def _prelogin_options(body: bytes) -> dict[int, bytes]:
    options, at = {}, 0
    while body[at] != _TERMINATOR:
        option, start, length = struct.unpack_from(">BHH", body, at)
        options[option] = body[start : start + length]
        at += 5
    return options


def _with_server_name(login: bytes, name: str) -> bytes:
    """A LOGIN7 message with another name for the server, put at its end; values may stand anywhere in it."""
    value = name.encode("utf-16-le")
    changed = bytearray(login + value)
    struct.pack_into("<HH", changed, _SERVER_NAME_AT, len(login), len(name))
    struct.pack_into("<I", changed, 0, len(changed))
    return bytes(changed)


def _read_login_answer(body: bytes) -> LoginAnswer:
    accepted, errors, redirected = False, [], False
    for token, content in _tokens(body):
        if token == _LOGINACK:
            accepted = True
        elif token == _ERROR:
            errors.append(struct.unpack_from("<i", content)[0])
        elif token == _ENVCHANGE and content[0] == _ROUTING:
            redirected = True
    return LoginAnswer(accepted and not errors, tuple(errors), redirected)


def _tokens(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The tokens of an answer to a login; EOFError at one that has no place there, or that is cut off."""
    at = 0
    while at < len(body):
        token = body[at]
        at += 1
        if token in _SHORT_TOKENS:
            length, at = struct.unpack_from("<H", body, at)[0], at + 2
        elif token in _LONG_TOKENS:
            length, at = struct.unpack_from("<I", body, at)[0], at + 4
        elif token in _FIXED_TOKENS:
            length = _FIXED_TOKENS[token]
        elif token == _FEATUREEXTACK:
            length = _feature_acknowledgements(body, at)
        else:
            raise EOFError
        if at + length > len(body):
            raise EOFError
        yield token, body[at : at + length]
        at += length


def _feature_acknowledgements(body: bytes, start: int) -> int:
    """The length of FEATUREEXTACK, which does not say it: numbers, each with a value, up to the terminator."""
    at = start
    while body[at] != _TERMINATOR:
        at += 5 + struct.unpack_from("<I", body, at + 1)[0]
    return at + 1 - start
