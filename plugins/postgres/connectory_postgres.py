"""The PostgreSQL connector: psycopg2, and a few bytes of the wire protocol where libpq gives no typed answer.

Protocol facts are from the PostgreSQL documentation, chapter "Frontend/Backend Protocol" (SSLRequest, StartupMessage,
AuthenticationCleartextPassword) and appendix "PostgreSQL Error Codes".
"""

from __future__ import annotations

import math
import re
import select
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from pydantic import Field

from connectory import (
    CheckContext,
    CheckFailed,
    Connector,
    Description,
    FailureCode,
    Host,
    Name,
    Port,
    Secrets,
    SecretText,
    SslCaField,
    SslMode,
    SslModeField,
    UrlGrammar,
)
from connectory.toolkit import Address, failure_of_sqlstate, path_of, request_tls, system_certificates

if TYPE_CHECKING:
    from psycopg2 import extensions

    from connectory.data import DataSession, SessionContext

_PROTOCOL_3 = 196608
_CLEARTEXT_PASSWORD = 3
# How libpq reports errors where it is told to name SQLSTATEs only.
_SQLSTATE = re.compile(r":\s+([0-9A-Z]{5})\s*$")

# A path that is never there: with it libpq neither looks in the home directory nor finds anything.
_NOWHERE = "/nonexistent/file"
_NO_USER = "PostgreSQL needs a user name; set username, or write it into the url."
_ACCESS_RULES = (
    "The server has no access rule for this user, database and encryption; check its pg_hba.conf and ssl_mode."
)


class PostgresSecrets(Secrets):
    """How to reach a PostgreSQL database."""

    connectory_url = UrlGrammar(
        schemes={"postgresql": {}, "postgres": {}, "postgresql+psycopg2": {}},
        query={"sslmode": "ssl_mode"},
    )

    host: Host = Field(title="Host", description="Name or address of the server.")
    port: Port = Field(default=5432, title="Port", description="TCP port of the server.")
    username: Name | None = Field(default=None, title="Username", description="Role to log in as.")
    password: SecretText | None = Field(default=None, title="Password", description="Password of the role.")
    dbname: Name | None = Field(
        default=None, title="Database", description="Database to open; the server's default is one named like the user."
    )
    db_schema: Name | None = Field(
        default=None, title="Schema", description="Schema that must exist and be usable; not checked when left out."
    )
    ssl_mode: SslModeField = SslMode.PREFERRED
    ssl_ca: SslCaField = None


class Postgres(Connector[PostgresSecrets]):
    """PostgreSQL."""

    identifier = "postgres"
    type = "database"
    description = Description(
        human_readable="PostgreSQL",
        user_guide="https://www.postgresql.org/docs/current/auth-password.html",
        category="DATABASE",
        drivers=("psycopg2", "connectory_postgres_libpq"),
        session_modules=("connectory_sql.postgresql",),
    )

    def test(self, secrets: PostgresSecrets, context: CheckContext) -> None:
        """Log in, run `SELECT 1`, and check that the schema is there and usable."""
        with ExitStack() as opened:
            asked, address = _negotiate_tls(secrets, context, opened)
            with context.step("authenticate"):
                session = _log_in(secrets, asked, address, context)
        with closing(session), context.step("query"):
            _query(session, context, "SELECT 1")
            if secrets.db_schema is not None:
                _check_schema(session, context, secrets.db_schema)

    def open_session(self, secrets: PostgresSecrets, context: SessionContext) -> DataSession:
        """Log in as the test does."""
        from connectory_sql import SqlSession
        from connectory_sql.postgresql import POSTGRESQL

        return SqlSession(POSTGRESQL, lambda: _log_in_to_stay(secrets, context), context, schema=secrets.db_schema)


def _negotiate_tls(secrets: PostgresSecrets, context: CheckContext, opened: ExitStack) -> tuple[socket.socket, Address]:
    """A connection, encrypted if the login must be, and the address to log in at.

    libpq reports what goes wrong with TLS only as text, so it is tried here. The login has a connection of its own, held to
    the answer.
    """
    connection, address = context.connect(secrets.host, secrets.port)
    opened.enter_context(connection)
    encrypted = request_tls(context, connection, secrets.ssl_mode, secrets.host, ca=secrets.ssl_ca)
    return (connection if encrypted is None else opened.enter_context(encrypted)), address


def _log_in(
    secrets: PostgresSecrets, asked: socket.socket, address: Address, context: CheckContext
) -> extensions.connection:
    """A session at `address`, encrypted as `asked` is, on which nothing but TLS was asked for so far."""
    import psycopg2

    from connectory_postgres_libpq import report_sqlstates_only

    with _parameters(secrets, asked, address, context) as parameters:
        # An asynchronous connection, so that the error format is set before the server's first answer.
        session: extensions.connection = psycopg2.connect(async_=1, **parameters)
        report_sqlstates_only(session)
        try:
            _wait(session, context)
        except psycopg2.OperationalError as error:
            session.close()
            raise _login_failure(error, secrets, asked, context.cleartext_refusal()) from error
    return session


def _log_in_to_stay(secrets: PostgresSecrets, context: CheckContext) -> extensions.connection:
    """A session that waits for its answers by itself, as what is made for psycopg2 expects it."""
    import psycopg2

    with ExitStack() as opened:
        asked, address = _negotiate_tls(secrets, context, opened)
        with context.step("authenticate"), _parameters(secrets, asked, address, context) as parameters:
            try:
                session: extensions.connection = psycopg2.connect(
                    **parameters, connect_timeout=math.ceil(context.timeout)
                )
            except psycopg2.OperationalError:
                # It has no SQLSTATE of what went wrong: ask as the test asks.
                _log_in(secrets, asked, address, context).close()
                raise
    return session


@contextmanager
def _parameters(
    secrets: PostgresSecrets, asked: socket.socket, address: Address, context: CheckContext
) -> Iterator[dict[str, Any]]:
    """What libpq logs in with, for as long as it needs the files in it."""
    encrypted = isinstance(asked, ssl.SSLSocket)
    refusal = context.cleartext_refusal()
    if secrets.username is None:
        raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_USER)
    parameters: dict[str, Any] = {
        "host": secrets.host,
        "hostaddr": address.ip,
        "port": address.port,
        "user": secrets.username,
        "password": secrets.password.get_secret_value() if secrets.password else None,
        "dbname": secrets.dbname or secrets.username,
        "application_name": "connectory",
        "client_encoding": "UTF8",
        # libpq reads these from the environment and from files in the home directory when they are left out.
        "passfile": "/dev/null",
        "options": "",
        "sslcert": _NOWHERE,
        "sslkey": _NOWHERE,
        "sslrootcert": _NOWHERE,
        "sslcrl": _NOWHERE,
        "sslcertmode": "disable",
        "gssencmode": "disable",
        "target_session_attrs": "any",
        # AuthenticationCleartextPassword. A hash (md5) is not a password in clear, and is sent: see README.md.
        "require_auth": None if refusal is None else "!password",
        "sslmode": "disable",
    }
    trusted: AbstractContextManager[str] = nullcontext(_NOWHERE)
    if encrypted:
        parameters["sslmode"] = "require"
    if encrypted and secrets.ssl_mode.verifies:
        parameters["sslmode"] = secrets.ssl_mode.value
        trusted = path_of(secrets.ssl_ca or system_certificates())
    with trusted as parameters["sslrootcert"]:
        yield {name: value for name, value in parameters.items() if value is not None}


def _wait(session: extensions.connection, context: CheckContext) -> None:
    """Wait until `session` has connected or answered, no longer than the context allows."""
    from psycopg2 import extensions

    while (state := session.poll()) != extensions.POLL_OK:
        waits_to_read = [session] if state == extensions.POLL_READ else []
        waits_to_write = [session] if state == extensions.POLL_WRITE else []
        if not any(select.select(waits_to_read, waits_to_write, [], context.timeout)):
            raise TimeoutError


def _login_failure(
    error: Exception, secrets: PostgresSecrets, asked: socket.socket, refusal: CheckFailed | None
) -> CheckFailed:
    """What `error` means. `refusal` says why libpq was told not to send the password in clear; `None` where it was not."""
    found = _SQLSTATE.search(str(error))
    if found is None:
        if refusal is not None and _asks_for_cleartext(secrets, asked):
            return refusal
        return CheckFailed(FailureCode.PROTOCOL_MISMATCH)
    remedy = _ACCESS_RULES if found[1] == "28000" else None
    return CheckFailed(failure_of_sqlstate(found[1]), remedy=remedy)


def _asks_for_cleartext(secrets: PostgresSecrets, asked: socket.socket) -> bool:
    """Whether the server's first answer to a login is the demand for a cleartext password; libpq says so only in text."""
    username, dbname = secrets.username or "", secrets.dbname or secrets.username or ""
    body = b"\0".join(text.encode() for text in ("user", username, "database", dbname)) + b"\0\0"
    try:
        asked.sendall(struct.pack("!II", len(body) + 8, _PROTOCOL_3) + body)
        with asked.makefile("rb") as answers:
            answer = answers.read(9)
    except OSError:
        return False
    return len(answer) == 9 and answer[:1] == b"R" and struct.unpack("!I", answer[5:]) == (_CLEARTEXT_PASSWORD,)


def _query(
    session: extensions.connection, context: CheckContext, statement: str, *values: str
) -> list[tuple[Any, ...]]:
    import psycopg2

    cursor = session.cursor()
    try:
        cursor.execute(statement, values or None)
        _wait(session, context)
        return cursor.fetchall()
    except psycopg2.Error as error:
        raise CheckFailed(failure_of_sqlstate(error.pgcode)) from error


def _check_schema(session: extensions.connection, context: CheckContext, schema: str) -> None:
    statement = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = %s"
    rows = _query(session, context, statement, schema)
    if not rows:
        raise CheckFailed(FailureCode.SCHEMA_NOT_FOUND)
    if not rows[0][0]:
        raise CheckFailed(FailureCode.PERMISSION_DENIED)
