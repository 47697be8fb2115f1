"""The Amazon Redshift connector: redshift-connector on a connection that is opened, vetted and encrypted here.

Protocol facts are from the PostgreSQL documentation, chapter "Frontend/Backend Protocol" (SSLRequest, the authentication
messages); Redshift's own login message, 13, is the digest that redshift-connector implements. Error codes are PostgreSQL's:
Redshift is derived from PostgreSQL 8.0, where a wrong password is 28000.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from types import SimpleNamespace
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
from connectory.toolkit import failure_of_sqlstate, request_tls, tls_context

if TYPE_CHECKING:
    from redshift_connector.core import Connection
    from redshift_connector.cursor import Cursor

    from connectory.data import DataSession, SessionContext

# Authentication requests, by their code.
_ACCEPTED = 0
_CLEARTEXT_PASSWORD = 3
_MD5_PASSWORD = 5
_DIGEST = 13
_IDENTITY_PROVIDER = 14

_TOO_MANY_CONNECTIONS = "53300"
_NO_PASSWORD = "The server asks for a password; set password, or write it into the url."
_NO_IDENTITY_PROVIDER = "The user logs in through an identity provider; use one with a password."

# What redshift-connector raises for messages that it cannot make sense of; it checks none of them.
_MALFORMED = (struct.error, LookupError, ValueError, TypeError, AttributeError)


class RedshiftSecrets(Secrets):
    """How to reach a database of an Amazon Redshift cluster or workgroup."""

    connectory_url = UrlGrammar(
        schemes={"redshift+psycopg2": {}, "redshift": {}, "redshift+redshift_connector": {}},
        username="user",
        path=("database",),
        query={"sslmode": "ssl_mode"},
        required_parts=frozenset({"password"}),
    )

    host: Host = Field(title="Host", description="Endpoint of the cluster or workgroup, without port and database.")
    port: Port = Field(default=5439, title="Port", description="TCP port of the endpoint.")
    user: Name = Field(title="Username", description="Database user to log in as.")
    password: SecretText | None = Field(default=None, title="Password", description="Password of the user.")
    database: Name = Field(title="Database", description="Database to open.")
    db_schema: Name | None = Field(
        default=None, title="Schema", description="Schema that must exist and be usable; not checked when left out."
    )
    ssl_mode: SslModeField = SslMode.VERIFY_FULL
    ssl_ca: SslCaField = Field(
        default=None, description="PEM certificates to trust instead of the system's and Amazon's."
    )


class Redshift(Connector[RedshiftSecrets]):
    """Amazon Redshift."""

    identifier = "redshift"
    type = "database"
    description = Description(
        human_readable="Amazon Redshift",
        user_guide="https://docs.aws.amazon.com/redshift/latest/mgmt/configuring-connections.html",
        category="DATABASE",
        drivers=("redshift_connector",),
        session_modules=("connectory_sql.redshift",),
    )

    def test(self, secrets: RedshiftSecrets, context: CheckContext) -> None:
        """Log in, run `SELECT 1`, and check that the schema is there and usable."""
        plain, address = context.connect(secrets.host, secrets.port)
        with plain, _negotiate_tls(plain, secrets, context) as connection:
            session = _log_in_on(connection, address, secrets, context)
            with context.step("query", _failures(FailureCode.QUERY_FAILED)):
                if len(_query(session, "SELECT 1")) != 1:
                    raise CheckFailed(FailureCode.QUERY_FAILED)
                if secrets.db_schema is not None:
                    _check_schema(session, secrets.db_schema)
                session.close()

    def open_session(self, secrets: RedshiftSecrets, context: SessionContext) -> DataSession:
        """Log in as the test does."""
        from connectory_sql import SqlSession
        from connectory_sql.redshift import REDSHIFT

        def log_in() -> Connection:
            plain, address = context.connect(secrets.host, secrets.port)
            with ExitStack() as opened:
                opened.enter_context(plain)
                connection = opened.enter_context(_negotiate_tls(plain, secrets, context))
                session = _log_in_on(connection, address, secrets, context)
                opened.pop_all()
            return session

        return SqlSession(REDSHIFT, log_in, context, schema=secrets.db_schema)


def _log_in_on(
    connection: socket.socket, address: tuple[str, int], secrets: RedshiftSecrets, context: CheckContext
) -> Connection:
    connection.settimeout(context.timeout)
    with (
        context.step("authenticate", _failures(FailureCode.PROTOCOL_MISMATCH)),
        _driver_takes(connection, address),
    ):
        return _log_in(secrets, context)


def _failures(found_by_the_driver: FailureCode) -> dict[type[BaseException], FailureCode]:
    """What the driver's exceptions mean; `found_by_the_driver` is for those that the server did not report."""
    from redshift_connector.error import Error

    return {Error: found_by_the_driver} | dict.fromkeys(_MALFORMED, FailureCode.PROTOCOL_MISMATCH)


def _negotiate_tls(plain: socket.socket, secrets: RedshiftSecrets, context: CheckContext) -> socket.socket:
    """The connection to log in on: encrypted where the mode asks for it and the server offers it."""
    encrypted = request_tls(context, plain, secrets.ssl_mode, secrets.host, settings=lambda: _tls_context(secrets))
    return encrypted or _Open(fileno=plain.detach())


def _tls_context(secrets: RedshiftSecrets) -> ssl.SSLContext:
    tls = tls_context(secrets.ssl_mode, secrets.ssl_ca)
    tls.sslsocket_class = _OpenTls
    if secrets.ssl_mode.verifies and secrets.ssl_ca is None:
        # Amazon's authorities, which not every system knows.
        tls.load_verify_locations(
            cadata=files("redshift_connector").joinpath("files/redshift-ca-bundle.crt").read_text()
        )
    return tls


class _Open(socket.socket):
    """A socket that is connected already, for a driver that insists on connecting."""

    def connect(self, address: Any) -> None:
        """Do nothing: it is connected, to the address that was vetted."""


class _OpenTls(ssl.SSLSocket):
    """The same, encrypted."""

    def connect(self, address: Any) -> None:
        """Do nothing: it is connected, to the address that was vetted."""


@contextmanager
def _driver_takes(connection: socket.socket, address: tuple[str, int]) -> Iterator[None]:
    """Make the driver use `connection`.

    It opens its own socket, resolves the name again, knows IPv4 only, and verifies against certificates of its own choice;
    no argument of it changes that. What it calls `socket` is therefore exchanged while it connects.
    """
    from redshift_connector import core

    exchanged = {"socket": lambda *_: connection, "getaddrinfo": lambda **_: [(None, None, None, None, address)]}
    vars(core)["socket"] = SimpleNamespace(**vars(socket) | exchanged)
    try:
        yield
    finally:
        vars(core)["socket"] = socket


def _log_in(secrets: RedshiftSecrets, context: CheckContext) -> Connection:
    from redshift_connector.core import Connection

    refusal = context.cleartext_refusal()

    class Session(Connection):
        """The driver's connection, which answers only the login methods that do not give the password away."""

        def handle_AUTHENTICATION_REQUEST(self, data: bytes, cursor: Cursor) -> None:  # noqa: N802  # the driver's name
            method = int.from_bytes(data[:4], "big")
            if method == _IDENTITY_PROVIDER:
                raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_IDENTITY_PROVIDER)
            if method == _CLEARTEXT_PASSWORD and refusal is not None:
                raise refusal
            if method not in {_ACCEPTED, _CLEARTEXT_PASSWORD, _MD5_PASSWORD, _DIGEST}:
                raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
            if method != _ACCEPTED and not self.password:
                raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_PASSWORD)
            super().handle_AUTHENTICATION_REQUEST(data, cursor)

    with _reported_by_the_server():
        # Not redshift_connector.connect, which may ask AWS for credentials: the class only connects.
        session = Session(
            host=secrets.host,
            port=secrets.port,
            user=secrets.user,
            password=secrets.password.get_secret_value() if secrets.password else "",
            database=secrets.database,
            application_name="connectory",
            ssl=False,  # it is encrypted already
            tcp_keepalive=False,
        )
    session.autocommit = True
    return session


def _query(session: Connection, statement: str, *values: str) -> Any:
    """The rows that `statement` gives."""
    with _reported_by_the_server():
        return session.cursor().execute(statement, values or None).fetchall()


@contextmanager
def _reported_by_the_server() -> Iterator[None]:
    """Take an error that the server reported by its SQLSTATE; what the driver finds itself is for the step to judge."""
    from redshift_connector.error import Error

    try:
        yield
    except Error as error:
        fields = error.args[0] if error.args else None
        if isinstance(fields, dict):
            state = fields.get("C")
            full = state == _TOO_MANY_CONNECTIONS
            raise CheckFailed(FailureCode.RATE_LIMITED if full else failure_of_sqlstate(state)) from error
        raise


def _check_schema(session: Connection, schema: str) -> None:
    # Redshift folds names to lower case, quoted ones too, unless enable_case_sensitive_identifier is on.
    statement = (
        "SELECT has_schema_privilege(nspname, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname IN (%s, lower(%s))"
    )
    rows = _query(session, statement, schema, schema)
    if not rows:
        raise CheckFailed(FailureCode.SCHEMA_NOT_FOUND)
    if not any(row[0] for row in rows):
        raise CheckFailed(FailureCode.PERMISSION_DENIED)
