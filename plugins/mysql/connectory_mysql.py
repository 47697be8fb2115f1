"""The MySQL connector: PyMySQL, with the handshake reported step by step and no password given away.

MariaDB speaks the same protocol, and so do others. A plugin for one of them depends on this distribution, derives its
fields from `MySQLSecrets`, and lets `check_connection` do the test and `open_session_of` the rest, as `connectory-mariadb` does.

Protocol facts are from the MySQL documentation: source code documentation, chapter "Client/Server Protocol",
"Connection Phase" (Protocol::Handshake, AuthSwitchRequest, caching_sha2_password), and the "Error Message Reference".
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

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
from connectory.toolkit import Failures, QueryKey, is_verified, tls_context, tls_failure

if TYPE_CHECKING:
    from pymysql.connections import Connection

    from connectory.data import DataSession, SessionContext
    from connectory_sql import Dialect

_NOT_TOLD_WHICH = (
    "The user may not use this database, or it does not exist; the server does not tell which. Check its grants."
)
_BLOCKED = "The server blocks this service's address after failed connections; its administrator can run FLUSH HOSTS."
_ADDRESS_REFUSED = "The server takes no logins from this service's address; its administrator can allow it."
_NO_SUCH_METHOD = (
    "The account logs in by a method that this connector does not support; "
    "use one with caching_sha2_password or mysql_native_password."
)
_EXPIRED = "The account's password has expired; set a new one on the server."
_LOCKED = "The account is locked; the server's administrator can unlock it."
_TLS_ONLY = "The server accepts encrypted connections only; set ssl_mode to required or stricter."
# Server errors are numbered from 1000, errors that the driver finds itself from 2000 to 2999 (CR_*).
_BY_ERRNO = {
    1040: (FailureCode.RATE_LIMITED, None),  # ER_CON_COUNT_ERROR
    1044: (FailureCode.PERMISSION_DENIED, _NOT_TOLD_WHICH),  # ER_DBACCESS_DENIED_ERROR
    1045: (FailureCode.AUTH_FAILED, None),  # ER_ACCESS_DENIED_ERROR
    1049: (FailureCode.DATABASE_NOT_FOUND, None),  # ER_BAD_DB_ERROR
    1059: (FailureCode.DATABASE_NOT_FOUND, None),  # ER_TOO_LONG_IDENT
    1102: (FailureCode.DATABASE_NOT_FOUND, None),  # ER_WRONG_DB_NAME
    1129: (FailureCode.AUTH_FAILED, _BLOCKED),  # ER_HOST_IS_BLOCKED
    1130: (FailureCode.AUTH_FAILED, _ADDRESS_REFUSED),  # ER_HOST_NOT_PRIVILEGED
    1142: (FailureCode.PERMISSION_DENIED, None),  # ER_TABLEACCESS_DENIED_ERROR
    1203: (FailureCode.RATE_LIMITED, None),  # ER_TOO_MANY_USER_CONNECTIONS
    1226: (FailureCode.RATE_LIMITED, None),  # ER_USER_LIMIT_REACHED
    1227: (FailureCode.PERMISSION_DENIED, None),  # ER_SPECIFIC_ACCESS_DENIED_ERROR
    1251: (FailureCode.AUTH_FAILED, _NO_SUCH_METHOD),  # ER_NOT_SUPPORTED_AUTH_MODE
    1524: (FailureCode.AUTH_FAILED, _NO_SUCH_METHOD),  # ER_PLUGIN_IS_NOT_LOADED
    1698: (FailureCode.AUTH_FAILED, None),  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1820: (FailureCode.AUTH_FAILED, _EXPIRED),  # ER_MUST_CHANGE_PASSWORD
    1862: (FailureCode.AUTH_FAILED, _EXPIRED),  # ER_MUST_CHANGE_PASSWORD_LOGIN
    1969: (FailureCode.TIMEOUT, None),  # MariaDB: ER_STATEMENT_TIMEOUT
    2026: (FailureCode.TLS_FAILED, None),  # CR_SSL_CONNECTION_ERROR
    2059: (FailureCode.AUTH_FAILED, _NO_SUCH_METHOD),  # CR_AUTH_PLUGIN_CANNOT_LOAD
    3024: (FailureCode.TIMEOUT, None),  # ER_QUERY_TIMEOUT
    3118: (FailureCode.AUTH_FAILED, _LOCKED),  # ER_ACCOUNT_HAS_BEEN_LOCKED
    3159: (FailureCode.TLS_FAILED, _TLS_ONLY),  # ER_SECURE_TRANSPORT_REQUIRED
    3955: (FailureCode.AUTH_FAILED, _LOCKED),  # ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK
    4151: (FailureCode.AUTH_FAILED, _LOCKED),  # MariaDB: ER_ACCOUNT_HAS_BEEN_LOCKED
}
_NEEDS_TLS = (
    "The server rejected the login; check user name and password, and whether the server or the account requires TLS, "
    "which ssl_mode disables."
)
_NO_USER = "The login needs a user name; set username, or write it into the url."
_NEVER_IN_CLEAR = (
    "The server asked for the password in clear, or in a form that gives it away, so it was not sent; "
    "use an account with caching_sha2_password or mysql_native_password."
)
# Methods by which the password itself travels, or what is as good as the password (mysql_old_password). PyMySQL has them
# built in; a server chooses one with an AuthSwitchRequest.
_REVEALING_METHODS = ("mysql_clear_password", "dialog", "mysql_old_password")
_SSL_REQUEST_LENGTH = 32  # bytes of Protocol::SSLRequest; a login is longer
# What PyMySQL raises for packets that it cannot make sense of, and for a server that asks for a local file.
_MALFORMED: Failures = dict.fromkeys(
    (struct.error, LookupError, ValueError, TypeError, AssertionError, RuntimeError), FailureCode.PROTOCOL_MISMATCH
)


def mysql_url(*schemes: str) -> UrlGrammar:
    """The grammar of `<scheme>://user:password@host:port/database` for servers that speak MySQL's protocol.

    Args:
        schemes: the accepted schemes; the first is the one that is written.
    """
    return UrlGrammar(
        schemes={scheme: {} for scheme in schemes},
        # PyMySQL's own default, which urls often spell out.
        query={"ssl_mode": "ssl_mode", "charset": QueryKey(None, {"utf8mb4": None, "utf8": None})},
    )


class MySQLSecrets(Secrets):
    """How to reach a database of a server that speaks MySQL's protocol."""

    connectory_url = mysql_url("mysql+pymysql", "mysql")

    host: Host = Field(title="Host", description="Name or address of the server.")
    port: Port = Field(default=3306, title="Port", description="TCP port of the server.")
    username: Name | None = Field(default=None, title="Username", description="User to log in as.")
    password: SecretText | None = Field(default=None, title="Password", description="Password of the user.")
    dbname: Name = Field(title="Database", description="Database to open; it must exist and the user may use it.")
    ssl_mode: SslModeField = SslMode.PREFERRED
    ssl_ca: SslCaField = None


class MySQL(Connector[MySQLSecrets]):
    """MySQL."""

    identifier = "mysql"
    type = "database"
    description = Description(
        human_readable="MySQL",
        user_guide="https://dev.mysql.com/doc/refman/8.4/en/creating-accounts.html",
        category="DATABASE",
        drivers=("pymysql",),
        session_modules=("connectory_sql.mysql",),
    )

    def test(self, secrets: MySQLSecrets, context: CheckContext) -> None:
        """Log in, open the database, and run `SELECT 1`."""
        check_connection(secrets, context)

    def open_session(self, secrets: MySQLSecrets, context: SessionContext) -> DataSession:
        """Log in as the test does."""
        from connectory_sql.mysql import MYSQL

        return open_session_of(MYSQL, secrets, context)


def check_connection(secrets: MySQLSecrets, context: CheckContext) -> None:
    """The test of any server that speaks MySQL's protocol: log in, open the database, and run `SELECT 1`.

    Raises:
        CheckFailed: the connection does not work; the code says why.
    """
    import pymysql

    connection, _ = context.connect(secrets.host, secrets.port)
    with connection, closing(_log_in(connection, secrets, context)) as session, context.step("query", _MALFORMED):
        try:
            session.select_db(secrets.dbname)
            with session.cursor() as cursor:
                if cursor.execute("SELECT 1") != 1:
                    raise CheckFailed(FailureCode.QUERY_FAILED)
        except pymysql.Error as error:
            raise _failure(error, FailureCode.QUERY_FAILED) from error


def open_session_of(dialect: Dialect, secrets: MySQLSecrets, context: SessionContext) -> DataSession:
    """A data session of any server that speaks MySQL's protocol, in the connection's database.

    Args:
        dialect: the product's SQL, of `connectory_sql.mysql`.
    """
    from connectory_sql import SqlSession

    return SqlSession(dialect, lambda: _log_in_to_stay(secrets, context), context, schema=secrets.dbname)


def _log_in_to_stay(secrets: MySQLSecrets, context: CheckContext) -> Connection:
    import pymysql

    with ExitStack() as opened:
        connection = opened.enter_context(context.connect(secrets.host, secrets.port)[0])
        session = _log_in(connection, secrets, context)
        with context.step("query", _MALFORMED):
            try:
                session.select_db(secrets.dbname)
            except pymysql.Error as error:
                session.close()
                raise _failure(error, FailureCode.QUERY_FAILED) from error
        opened.pop_all()
    return session


def _log_in(connection: socket.socket, secrets: MySQLSecrets, context: CheckContext) -> Connection:
    """A session on `connection`, as the steps `tls` and `authenticate`.

    The server speaks first and offers TLS in its greeting, so the greeting belongs to the step `tls`.
    """
    import pymysql

    with ExitStack() as steps:

        def authenticate(encrypted: ssl.SSLSocket | None = None) -> None:
            if encrypted is not None:
                context.report_tls(verified=is_verified(encrypted))
            else:
                context.skip_step("tls")
            steps.enter_context(context.step("authenticate", _MALFORMED))
            if secrets.username is None:
                raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_USER)

        if secrets.ssl_mode is SslMode.DISABLED:
            authenticate()
            session = _session(secrets, context)
        else:
            steps.enter_context(context.step("tls", _MALFORMED))
            tls = tls_context(secrets.ssl_mode, secrets.ssl_ca)
            session = _session(secrets, context, tls, before_login=authenticate)
        try:
            session.connect(connection)
        except pymysql.Error as error:
            failure = _failure(error, FailureCode.PROTOCOL_MISMATCH)
            if failure.code is FailureCode.AUTH_FAILED and secrets.ssl_mode is SslMode.DISABLED:
                failure.remedy = failure.remedy or _NEEDS_TLS
            raise failure from error
    return session


def _session(
    secrets: MySQLSecrets,
    context: CheckContext,
    tls: ssl.SSLContext | None = None,
    before_login: Callable[[ssl.SSLSocket | None], None] | None = None,
) -> Any:
    """PyMySQL's connection, not connected yet.

    Args:
        tls: the settings for TLS. Default: no TLS.
        before_login: what to call once, before anything of the login is sent: with the connection where that is encrypted, and
            with `None` where it will not be.
    """
    needs_tls = secrets.ssl_mode.needs_tls
    session = _session_type()(
        host=secrets.host,
        user=secrets.username,
        # Bytes, because PyMySQL encodes text as Latin-1 and MySQL's own clients as UTF-8.
        password=secrets.password.get_secret_value().encode() if secrets.password else b"",
        charset="utf8mb4",
        autocommit=None,
        read_timeout=context.timeout,
        write_timeout=context.timeout,
        ssl=tls if needs_tls else None,
        ssl_disabled=not needs_tls,
        local_infile=False,
        auth_plugin_map=_REFUSED_METHODS,
        defer_connect=True,
    )
    session.before_login, session.cleartext_refusal = before_login, context.cleartext_refusal
    if tls is not None:  # also where it is only preferred: PyMySQL then uses it if the server offers it
        session.ssl, session.ctx = True, tls
    return session


def _session_type() -> type[Any]:
    """PyMySQL's connection, which calls `before_login`, takes no RSA key from a server, and asks before it sends the password."""
    from pymysql.connections import Connection

    class Session(Connection):  # type: ignore[misc]  # PyMySQL has no types
        before_login: Callable[[ssl.SSLSocket | None], None] | None = None
        cleartext_refusal: Callable[[], CheckFailed | None]

        def write_packet(self, payload: bytes) -> None:
            if self.before_login is not None and len(payload) > _SSL_REQUEST_LENGTH:
                self.before_login(self._sock if isinstance(self._sock, ssl.SSLSocket) else None)
                self.before_login = None
            # Through TLS, caching_sha2_password and sha256_password send the password itself.
            if self.password and payload == self.password + b"\0" and (refusal := self.cleartext_refusal()):
                raise refusal
            super().write_packet(payload)

        # Without TLS, PyMySQL reads this before it encrypts the password with a key that the server sends along.
        # Whoever answers in the server's place would send their own.
        @property
        def server_public_key(self) -> NoReturn:
            raise CheckFailed(FailureCode.INSECURE_AUTH_REFUSED)

        @server_public_key.setter
        def server_public_key(self, key: bytes | None) -> None:
            if key is not None:
                raise CheckFailed(FailureCode.INSECURE_AUTH_REFUSED)

    return Session


def _refusing(code: FailureCode, remedy: str) -> Callable[[Connection], SimpleNamespace]:
    """What takes the place of a login method of the driver's, and ends the test before anything is sent."""

    def authenticate(_packet: object) -> NoReturn:
        raise CheckFailed(code, remedy=remedy)

    return lambda _session: SimpleNamespace(authenticate=authenticate)


_REFUSED_METHODS = {
    **dict.fromkeys(_REVEALING_METHODS, _refusing(FailureCode.INSECURE_AUTH_REFUSED, _NEVER_IN_CLEAR)),
    # PyMySQL has it only where PyNaCl is installed.
    "client_ed25519": _refusing(FailureCode.AUTH_FAILED, _NO_SUCH_METHOD),
}


def _failure(error: Exception, otherwise: FailureCode) -> CheckFailed:
    """What `error` of the driver means; `otherwise` where it has no number, or one of the driver's own."""
    if isinstance(error.__context__, TimeoutError):
        return CheckFailed(FailureCode.TIMEOUT)
    # PyMySQL keeps an OSError that it did not expect. It was given a connection, so only the TLS handshake raises one.
    handshake: OSError | None = getattr(error, "original_exception", None)
    if handshake is not None:
        return CheckFailed(tls_failure(handshake))
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number in _BY_ERRNO:
        code, remedy = _BY_ERRNO[number]
        return CheckFailed(code, remedy=remedy)
    return CheckFailed(FailureCode.QUERY_FAILED if 1000 <= number < 2000 or number >= 3000 else otherwise)
