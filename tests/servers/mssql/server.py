"""A server that speaks SQL Server's protocol (TDS 7.4 and 8.0), on loopback.

Engine: the protocol is ours, after Microsoft's open specification [MS-TDS]; the data is in the embedded PostgreSQL,
reached by translating T-SQL with sqlglot. Databases, roles and rights are PostgreSQL's, so a missing right is really
missing. A green test shows that ODBC drivers (FreeTDS, Microsoft's) log in, encrypt, verify TLS, run simple
statements with parameters, and that the error numbers 18456, 4060, 911, 208 and 229 are told apart. It does not show
that a statement works on SQL Server: only a few system objects exist, and everything else that is Microsoft's
(Windows and Entra logins, named instances, MARS) is missing.
"""

import itertools
import re
import secrets
import socket
import ssl
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import psycopg2
from psycopg2 import extensions, sql
from sqlglot import expressions

from connectory.testing.certificates import ServerCertificate
from connectory.testing.ports import IPV4_LOOPBACK
from servers.mssql import tsql
from servers.mssql import wire as tds
from servers.postgres.server import PostgresServer
from testkit.loopback import LoopbackServer, Peer, PeerLeft

EncryptionMode = Literal["not offered", "offered", "required"]
Encrypted = Literal["no", "login only", "yes"]

# SQLSTATE of PostgreSQL -> error number of SQL Server.
_ERROR_NUMBERS = {
    "42P01": 208,  # invalid object name
    "42703": 207,  # invalid column name
    "42601": 102,  # incorrect syntax
    "42501": 229,  # permission denied on the object
    "42883": 195,  # not a recognized built-in function name
    "23505": 2627,  # violation of a unique constraint
    "55P03": 1222,  # the lock was not to be had in time
}
_OTHER_ERROR = 50000


class Login(NamedTuple):
    """An attempt to log in: what the client asked for, how much of it was encrypted, and whether it was let in."""

    user: str
    database: str
    application: str
    encrypted: Encrypted
    succeeded: bool


class MSSQLServer:
    """One server, with its own data, on 127.0.0.1 and (where the machine has it) ::1. It begins with the database `master`.

    With `certificate` encryption is "offered" (a client that says "off" still gets an encrypted login) or
    "required"; TDS 8.0 ("strict") is answered too. `superuser` has `password`. `logins` lists every attempt, oldest
    first.
    """

    superuser = "sa"

    def __init__(
        self, *, certificate: ServerCertificate | None = None, encryption: EncryptionMode | None = None
    ) -> None:
        self.encryption: EncryptionMode = encryption or ("offered" if certificate else "not offered")
        if self.encryption != "not offered" and certificate is None:
            raise ValueError(f"Encryption {self.encryption} needs a certificate")
        self.host = IPV4_LOOPBACK
        self.password = secrets.token_urlsafe(16)
        self.logins: list[Login] = []
        self.backend = PostgresServer()
        self._passwords: dict[str, str] = {}
        self._sessions = itertools.count(51)  # SQL Server keeps the first fifty for itself
        self._front = LoopbackServer(self._serve, name=f"SQL Server, encryption {self.encryption}")
        self._tls = self._strict_tls = None
        if certificate and self.encryption != "not offered":
            self._tls = certificate.server_context()
            # SQL Server does no TLS 1.3 inside TDS 7.x, and FreeTDS hangs when it is offered.
            self._tls.maximum_version = ssl.TLSVersion.TLSv1_2
            self._strict_tls = certificate.server_context(alpn=("tds/8.0",))

    @property
    def port(self) -> int:
        return self._front.port

    @property
    def connections(self) -> int:
        return self._front.connections

    @property
    def received(self) -> bytes:
        """All bytes received, decrypted. A password in it is obscured as TDS does, not in clear."""
        return self._front.received

    def start(self) -> Self:
        """Start PostgreSQL and the front; returns when logins are answered."""
        self.backend.start()
        try:
            self.create_database("master")
            self.backend.execute("GRANT CONNECT ON DATABASE master TO PUBLIC")
            create = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
            self.backend.execute(create.format(sql.Identifier(self.superuser), sql.Literal(self.password)))
            self._passwords[self.superuser] = self.password
            self._front.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop both and delete the data. Calling it again does nothing."""
        self._front.stop()
        self.backend.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def execute(self, statement: str, *arguments: object, database: str = "master") -> list[tuple]:
        """Run one statement of PostgreSQL's SQL as its superuser and return its rows."""
        return self.backend.execute(statement, *arguments, database=database.lower())

    def create_database(self, name: str) -> None:
        """Create a database, with schema `dbo`, that nobody but the superuser may enter yet."""
        name = name.lower()
        database = sql.Identifier(name)
        self.backend.create_database(name)
        self.backend.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(database))
        self.backend.execute(sql.SQL("ALTER DATABASE {} SET search_path = dbo").format(database))
        self.backend.execute(tsql.SYSTEM_OBJECTS, database=name)

    def create_user(self, name: str, password: str, *, databases: Iterable[str] = ()) -> None:
        """Create a login that may enter `master` and, with the right to make tables, `databases`."""
        self.backend.create_role(name, password)
        self._passwords[name] = password
        user = sql.Identifier(name)
        for database in (database.lower() for database in databases):
            enter = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), user)
            self.backend.execute(enter)
            self.backend.execute(sql.SQL("GRANT CREATE ON SCHEMA dbo TO {}").format(user), database=database)

    def _serve(self, peer: Peer) -> None:
        channel = Channel(peer, session=next(self._sessions))
        encrypted = self._negotiate_encryption(channel)
        kind, body = channel.read()
        if kind != tds.LOGIN7:
            return
        request = tds.LoginRequest.parse(body)
        if encrypted == "login only":
            channel.end_tls()
        database = (request.database or "master").lower()
        refusal = self._refusal(request, database)
        self.logins.append(Login(request.user, request.database, request.application, encrypted, refusal is None))
        if refusal:
            channel.send(refusal)
            return
        session = _Session(self.backend, request.user, self._passwords[request.user], database)
        try:
            channel.send(tds.login_answer(request, database))
            channel.packet_size = request.packet_size
            while True:
                kind, body = channel.read()
                channel.send(session.answer(kind, body))
        finally:
            session.close()

    def _negotiate_encryption(self, channel: "Channel") -> Encrypted:
        """The PRELOGIN exchange and the handshake that it agrees on ([MS-TDS] 2.2.6.5 and 3.3.5.1)."""
        strict = self._strict_tls is not None and channel.begins_with_tls()
        if strict:
            channel.peer.start_tls(self._strict_tls)
        kind, body = channel.read()
        if kind != tds.PRELOGIN:
            raise PeerLeft  # as SQL Server does with what is not TDS, the handshake of a strict client for one
        asked = tds.read_prelogin(body)
        wish = tds.client_encryption(asked)
        agreed = tds.ENCRYPT_NOT_SUPPORTED if strict or self._tls is None else self._answer_to(wish)
        channel.send(tds.prelogin_answer(agreed, asked))
        if strict:
            return "yes"
        if agreed == tds.ENCRYPT_NOT_SUPPORTED:
            return "no"
        if wish == tds.ENCRYPT_NOT_SUPPORTED:
            raise PeerLeft  # required here, impossible there: the session ends
        channel.start_tls(self._tls)
        return "login only" if agreed == tds.ENCRYPT_OFF else "yes"

    def _answer_to(self, wish: int) -> int:
        if wish in (tds.ENCRYPT_ON, tds.ENCRYPT_REQUIRED):
            return tds.ENCRYPT_ON
        if self.encryption == "required":
            return tds.ENCRYPT_REQUIRED
        return wish  # off (then only the login is encrypted) or not supported

    def _refusal(self, request: tds.LoginRequest, database: str) -> bytes | None:
        login_failed = tds.error(18456, f"Login failed for user '{request.user}'.", severity=14)
        if self._passwords.get(request.user) != request.password:
            return login_failed + tds.done(tds.DONE_ERROR)
        allowed = self.backend.execute(
            "SELECT has_database_privilege(%s, oid, 'CONNECT') FROM pg_database WHERE datname = %s",
            request.user,
            database,
        )
        if allowed != [(True,)]:
            text = f'Cannot open database "{database}" requested by the login. The login failed.'
            return tds.error(4060, text, severity=11) + login_failed + tds.done(tds.DONE_ERROR)
        return None


class Channel:
    """Whole TDS messages on one connection, through TLS where that was agreed.

    TLS of TDS 7.x begins inside PRELOGIN packets and goes on without them, so it cannot be left to the socket.
    """

    def __init__(self, peer: Peer, session: int) -> None:
        self.peer = peer
        self.packet_size = 4096
        self._session = session
        self._unread = b""
        self._tls: ssl.SSLObject | None = None
        self._from_peer, self._to_peer = ssl.MemoryBIO(), ssl.MemoryBIO()

    def begins_with_tls(self) -> bool:
        """Whether the first byte is that of a TLS handshake (TDS 8.0) and not of a PRELOGIN packet."""
        try:
            return self.peer.socket.recv(1, socket.MSG_PEEK) == b"\x16"
        except OSError as error:
            raise PeerLeft from error

    def read(self) -> tuple[int, bytes]:
        """The type and body of the next message."""
        body = b""
        while True:
            header = tds.PacketHeader.parse(self._take(tds.HEADER_BYTES))
            body += self._take(header.length - tds.HEADER_BYTES)
            if header.status & tds.END_OF_MESSAGE:
                return header.kind, body

    def send(self, body: bytes, kind: int = tds.TABULAR_RESULT) -> None:
        data = tds.packets(kind, body, packet_size=self.packet_size, session=self._session)
        if self._tls:
            self._tls.write(data)
            data = self._to_peer.read()
        self.peer.send(data)

    def start_tls(self, context: ssl.SSLContext) -> None:
        handshake = context.wrap_bio(self._from_peer, self._to_peer, server_side=True)
        finished = False
        while not finished:
            try:
                handshake.do_handshake()
                finished = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise PeerLeft from error
            if answer := self._to_peer.read():
                self.send(answer, tds.PRELOGIN)
            if not finished:
                self._from_peer.write(self.read()[1])
        self._tls = handshake

    def end_tls(self) -> None:
        self._tls = None

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._unread += self._receive()
        data, self._unread = self._unread[:count], self._unread[count:]
        return data

    def _receive(self) -> bytes:
        while self._tls:
            try:
                data = self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._from_peer.write(self.peer.receive())
            except ssl.SSLError as error:
                raise PeerLeft from error
            else:
                self.peer.record(data)
                return data
        return self.peer.read_some()


@dataclass
class _Prepared:
    statement: str
    declaration: str


class _Session:
    """What one logged-in client runs: batches, remote procedure calls and transactions, on one connection to PostgreSQL."""

    def __init__(self, backend: PostgresServer, user: str, password: str, database: str) -> None:
        self._backend, self._user, self._password = backend, user, password
        self._connection = self._connect(database)
        self._implicit_transactions = False
        self._prepared: dict[int, _Prepared] = {}
        self._handles = itertools.count(1)

    def close(self) -> None:
        self._connection.close()

    def answer(self, kind: int, body: bytes) -> bytes:
        """The tokens that answer one message."""
        try:
            if kind == tds.SQL_BATCH:
                return self._batch(body[tds.all_headers_length(body) :].decode("utf-16-le"))
            if kind == tds.RPC:
                return self._call(tds.read_call(body))
            if kind == tds.TRANSACTION_MANAGER:
                return self._transaction(body)
        except psycopg2.Error as error:
            return self._failure(_ERROR_NUMBERS.get(error.pgcode, _OTHER_ERROR), error.diag.message_primary or "failed")
        except tsql.SyntaxFault as fault:
            return self._failure(102, str(fault))
        except ValueError as fault:
            return self._failure(_OTHER_ERROR, str(fault))
        if kind == tds.ATTENTION:
            return tds.done(tds.DONE_ATTENTION)
        return self._failure(_OTHER_ERROR, f"messages of type {kind} are not supported by this test server")

    def _connect(self, database: str) -> extensions.connection:
        connection = psycopg2.connect(
            host=self._backend.host,
            port=self._backend.port,
            user=self._user,
            password=self._password,
            dbname=database,
            sslmode="disable",
        )
        connection.autocommit = True
        return connection

    def _failure(self, number: int, text: str) -> bytes:
        if self._connection.info.transaction_status == extensions.TRANSACTION_STATUS_INERROR:
            self._connection.rollback()
        return tds.error(number, text) + tds.done(tds.DONE_ERROR)

    def _batch(self, text: str, parameters: Mapping[str, object] | None = None, *, token: int = tds.DONE) -> bytes:
        """Run the statements of a batch. In a call, `token` is DONEINPROC, after which clients always expect more."""
        more = tds.DONE_MORE if token == tds.DONE_IN_PROCEDURE else 0
        if self._run_control_statement(text):
            return tds.done(more, token=token)
        answers = []
        statements = tsql.parse(text)
        for number, statement in enumerate(statements, start=1):
            last = number == len(statements)
            answers.append(self._run(statement, parameters or {}, more if last else tds.DONE_MORE, token))
        return b"".join(answers) or tds.done(more, token=token)

    def _run(self, statement: expressions.Expression, parameters: Mapping[str, object], more: int, token: int) -> bytes:
        if isinstance(statement, expressions.Use):
            return self._use(statement.this.name.lower()) + tds.done(more, token=token)
        if isinstance(statement, expressions.Set):  # settings of SQL Server, none of which changes an answer of ours
            return tds.done(more, token=token)
        if self._implicit_transactions:
            self._begin()
        with self._connection.cursor() as cursor:
            cursor.execute(tsql.to_postgres(statement, parameters, self._quote))
            if cursor.description is None:
                return tds.done(more | tds.DONE_COUNT, max(cursor.rowcount, 0), token)
            rows = cursor.fetchall()
            columns = [
                tds.column(
                    described.name.replace("?column?", ""), described.type_code, described.precision, described.scale
                )
                for described in cursor.description
            ]
        return tds.result_set(columns, rows) + tds.done(more | tds.DONE_COUNT, len(rows), token)

    def _quote(self, value: object) -> str:
        adapted = extensions.adapt(value)
        if hasattr(adapted, "prepare"):
            adapted.prepare(self._connection)
        return adapted.getquoted().decode()

    def _run_control_statement(self, text: str) -> bool:
        """Whether `text` was one of the statements by which ODBC drivers control transactions; it has been carried out then."""
        text = " ".join(text.lower().rstrip("; ").split())
        if match := re.fullmatch(r"set implicit_transactions (on|off)", text):
            self._implicit_transactions = match[1] == "on"
            return True
        if match := re.fullmatch(r"(?:if @@trancount > 0 )?(commit|rollback)(?: tran\w*)?( begin tran\w*)?", text):
            self._end(commit=match[1] == "commit")
            if match[2]:
                self._begin()
            return True
        if re.fullmatch(r"begin tran\w*", text):
            self._begin()
            return True
        if match := re.fullmatch(r"set lock_timeout (\d+)", text):
            self._change(f"SET lock_timeout = {match[1]}")
            return True
        if match := re.fullmatch(r"kill (\d+)", text):
            self._change(f"SELECT pg_terminate_backend({match[1]})")
            return True
        return False

    def _change(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def _use(self, database: str) -> bytes:
        row = self._backend.execute(
            "SELECT has_database_privilege(%s, oid, 'CONNECT') FROM pg_database WHERE datname = %s",
            self._user,
            database,
        )
        if row != [(True,)]:
            number = 916 if row else 911
            return tds.error(number, f"Database '{database}' does not exist or may not be used by '{self._user}'.")
        old = self._connection.info.dbname
        self._connection.close()
        self._connection = self._connect(database)
        return tds.environment_change(1, database, old)

    def _call(self, call: tds.Call) -> bytes:
        values = [value for _, value in call.parameters]
        end = tds.return_status(0) + tds.done(token=tds.DONE_PROCEDURE)
        if call.procedure == "sp_executesql":
            statement, declaration, rest = values[0], (values[1:2] or [""])[0], call.parameters[2:]
            return self._batch(statement, _named(rest, declaration), token=tds.DONE_IN_PROCEDURE) + end
        if call.procedure in ("sp_prepare", "sp_prepexec"):
            prepared = _Prepared(statement=values[2], declaration=values[1] or "")
            handle = next(self._handles)
            self._prepared[handle] = prepared
            answer = b""
            if call.procedure == "sp_prepexec":
                parameters = _named(call.parameters[3:], prepared.declaration)
                answer = self._batch(prepared.statement, parameters, token=tds.DONE_IN_PROCEDURE)
            return answer + tds.return_status(0) + tds.return_value(handle) + tds.done(token=tds.DONE_PROCEDURE)
        if call.procedure == "sp_execute":
            prepared = self._prepared[values[0]]
            parameters = _named(call.parameters[1:], prepared.declaration)
            return self._batch(prepared.statement, parameters, token=tds.DONE_IN_PROCEDURE) + end
        if call.procedure == "sp_unprepare":
            self._prepared.pop(values[0], None)
            return end
        return self._failure(2812, f"Could not find stored procedure '{call.procedure}'.")

    def _transaction(self, body: bytes) -> bytes:
        """A transaction manager request (2.2.6.9): begin 5, commit 7, roll back 8."""
        at = tds.all_headers_length(body)
        (request,) = struct.unpack_from("<H", body, at)
        descriptor = struct.pack("<Q", id(self))
        if request == 5:
            self._begin()
            return tds.transaction_change(8, descriptor, b"") + tds.done()
        if request not in (7, 8):
            raise ValueError(f"transaction request {request} is not supported by this test server")
        self._end(commit=request == 7)
        answer = tds.transaction_change(9 if request == 7 else 10, b"", descriptor)
        name_length = body[at + 2]
        begins_another = body[at + 3 + name_length : at + 4 + name_length] == b"\1"
        if begins_another:
            self._begin()
            answer += tds.transaction_change(8, descriptor, b"")
        return answer + tds.done()

    def _begin(self) -> None:
        if self._connection.autocommit:
            self._connection.autocommit = False

    def _end(self, *, commit: bool) -> None:
        if commit:
            self._connection.commit()
        else:
            self._connection.rollback()
        self._connection.autocommit = True


def _named(parameters: Iterable[tuple[str, object]], declaration: str) -> dict[str, object]:
    """Values by name: a parameter without a name takes the next one of the declaration (`@P1 int, @P2 nvarchar(9)`)."""
    declared = itertools.chain(re.findall(r"@\w+", declaration or ""), itertools.repeat(""))
    pairs = zip(parameters, declared, strict=False)
    return {(name or next_declared).lstrip("@").lower(): value for (name, value), next_declared in pairs}
