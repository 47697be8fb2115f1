"""The MySQL connector: PyMySQL, with the handshake reported step by step and no password given away.

MariaDB speaks the same protocol, and so do others. A plugin for one of them depends on this distribution, derives its
fields from `MySQLSecrets` and lets `check_connection` do the test, as `connectory-mariadb` does.

Protocol facts are from the MySQL documentation: source code documentation, chapter "Client/Server Protocol",
"Connection Phase" (Protocol::Handshake, AuthSwitchRequest, caching_sha2_password), and the "Error Message Reference".
"""

from __future__ import annotations

import socket
import ssl
import struct
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
from connectory.toolkit import Failures, QueryKey, tls_context, tls_failure

if TYPE_CHECKING:
    from pymysql.connections import Connection

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><ellipse cx="12" cy="5" rx="8" ry="3" fill="#00618a"/>'
    '<path d="M4 5v14c0 1.700 3.600 3 8 3s8-1.300 8-3V5c0 1.700-3.600 3-8 3S4 6.700 4 5z" fill="#0d7ba8"/>'
    '<path d="M6 18v-6l3 3 3-3v6M14.500 12l2 3 2-3M16.500 15v3" fill="none" stroke="#f29111" stroke-width="1.500"/></svg>'
)

# Server errors are numbered from 1000, errors that the driver finds itself from 2000 to 2999 (CR_*).
_BY_ERRNO = {
    1040: FailureCode.RATE_LIMITED,  # ER_CON_COUNT_ERROR
    1044: FailureCode.PERMISSION_DENIED,  # ER_DBACCESS_DENIED_ERROR
    1045: FailureCode.AUTH_FAILED,  # ER_ACCESS_DENIED_ERROR
    1049: FailureCode.DATABASE_NOT_FOUND,  # ER_BAD_DB_ERROR
    1059: FailureCode.DATABASE_NOT_FOUND,  # ER_TOO_LONG_IDENT
    1102: FailureCode.DATABASE_NOT_FOUND,  # ER_WRONG_DB_NAME
    1129: FailureCode.AUTH_FAILED,  # ER_HOST_IS_BLOCKED
    1130: FailureCode.AUTH_FAILED,  # ER_HOST_NOT_PRIVILEGED
    1142: FailureCode.PERMISSION_DENIED,  # ER_TABLEACCESS_DENIED_ERROR
    1203: FailureCode.RATE_LIMITED,  # ER_TOO_MANY_USER_CONNECTIONS
    1226: FailureCode.RATE_LIMITED,  # ER_USER_LIMIT_REACHED
    1227: FailureCode.PERMISSION_DENIED,  # ER_SPECIFIC_ACCESS_DENIED_ERROR
    1251: FailureCode.AUTH_FAILED,  # ER_NOT_SUPPORTED_AUTH_MODE
    1524: FailureCode.AUTH_FAILED,  # ER_PLUGIN_IS_NOT_LOADED
    1698: FailureCode.AUTH_FAILED,  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1820: FailureCode.AUTH_FAILED,  # ER_MUST_CHANGE_PASSWORD
    1862: FailureCode.AUTH_FAILED,  # ER_MUST_CHANGE_PASSWORD_LOGIN
    1969: FailureCode.TIMEOUT,  # MariaDB: ER_STATEMENT_TIMEOUT
    2026: FailureCode.TLS_FAILED,  # CR_SSL_CONNECTION_ERROR
    2059: FailureCode.AUTH_FAILED,  # CR_AUTH_PLUGIN_CANNOT_LOAD
    3024: FailureCode.TIMEOUT,  # ER_QUERY_TIMEOUT
    3118: FailureCode.AUTH_FAILED,  # ER_ACCOUNT_HAS_BEEN_LOCKED
    3159: FailureCode.TLS_FAILED,  # ER_SECURE_TRANSPORT_REQUIRED
    3955: FailureCode.AUTH_FAILED,  # ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK
    4151: FailureCode.AUTH_FAILED,  # MariaDB: ER_ACCOUNT_HAS_BEEN_LOCKED
}
_ADDRESS_REFUSED = "The server takes no logins from this service's address; its administrator can allow it."
_NO_SUCH_METHOD = (
    "The account logs in by a method that this connector does not support; "
    "use one with caching_sha2_password or mysql_native_password."
)
_LOCKED = "The account is locked; the server's administrator can unlock it."
_EXPIRED = "The account's password has expired; set a new one on the server."
_REMEDIES = {
    1044: "The user may not use this database, or it does not exist; the server does not tell which. Check its grants.",
    1129: "The server blocks this service's address after failed connections; its administrator can run FLUSH HOSTS.",
    1130: _ADDRESS_REFUSED,
    1251: _NO_SUCH_METHOD,
    1524: _NO_SUCH_METHOD,
    1820: _EXPIRED,
    1862: _EXPIRED,
    2059: _NO_SUCH_METHOD,
    3118: _LOCKED,
    3159: "The server accepts encrypted connections only; set ssl_mode to required or stricter.",
    3955: _LOCKED,
    4151: _LOCKED,
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
        icon=_ICON,
        user_guide="https://dev.mysql.com/doc/refman/8.4/en/creating-accounts.html",
        category="DATABASE",
        drivers=("pymysql",),
    )

    def test(self, secrets: MySQLSecrets, context: CheckContext) -> None:
        """Log in, open the database, and run `SELECT 1`."""
        check_connection(secrets, context)


def check_connection(secrets: MySQLSecrets, context: CheckContext) -> None:
    """The test of any server that speaks MySQL's protocol: log in, open the database, and run `SELECT 1`.

    Raises:
        CheckFailed: the connection does not work; the code says why.
    """
    import pymysql

    connection, _ = context.connect(secrets.host, secrets.port)
    with connection, closing(_Login(secrets, context).on(connection)) as session, context.step("query", _MALFORMED):
        try:
            session.select_db(secrets.dbname)
            with session.cursor() as cursor:
                if cursor.execute("SELECT 1") != 1:
                    raise CheckFailed(FailureCode.QUERY_FAILED)
        except pymysql.Error as error:
            raise _failure(error, FailureCode.QUERY_FAILED) from error


class _Login:
    """One login, as the steps `tls` and `authenticate`.

    The server speaks first and offers TLS in its greeting, so the greeting belongs to the step `tls`. PyMySQL says when it has
    read the greeting, and comes here to encrypt the connection; either may be the end of that step.
    """

    def __init__(self, secrets: MySQLSecrets, context: CheckContext) -> None:
        self._secrets = secrets
        self._context = context
        self._mode = secrets.ssl_mode
        self._steps = ExitStack()
        self._tls: ssl.SSLContext | None = None

    def on(self, connection: socket.socket) -> Connection:
        """A session on `connection`."""
        import pymysql

        with self._steps:
            if self._mode is SslMode.DISABLED:
                self._context.skip_step("tls")
                self._authenticate()
            else:
                self._begin("tls")
                self._tls = tls_context(self._mode, self._secrets.ssl_ca)
            session = self._session()
            try:
                session.connect(connection)
            except pymysql.Error as error:
                raise self._refusal(error) from error
        return session

    def _session(self) -> Any:
        password = self._secrets.password.get_secret_value() if self._secrets.password else ""
        session = _session_type()(
            host=self._secrets.host,
            user=self._secrets.username,
            # Bytes, because PyMySQL encodes text as Latin-1 and MySQL's own clients as UTF-8.
            password=password.encode(),
            charset="utf8mb4",
            autocommit=None,
            read_timeout=self._context.timeout,
            write_timeout=self._context.timeout,
            ssl=self._tls if self._mode.needs_tls else None,
            ssl_disabled=not self._mode.needs_tls,
            local_infile=False,
            auth_plugin_map=_REFUSED_METHODS,
            defer_connect=True,
        )
        session.greeted = self._greeted
        session.ssl = self._tls is not None  # not required, and a server offers it: PyMySQL uses it then
        session.ctx = SimpleNamespace(wrap_socket=self._encrypt)
        return session

    def _begin(self, step: str) -> None:
        self._steps.close()
        self._steps.enter_context(self._context.step(step, _MALFORMED))

    def _authenticate(self) -> None:
        self._begin("authenticate")
        if self._secrets.username is None:
            raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_USER)

    def _greeted(self, *, offers_tls: bool) -> None:
        if self._mode is SslMode.PREFERRED and not offers_tls:
            self._authenticate()

    def _encrypt(self, plain: socket.socket, server_hostname: str) -> ssl.SSLSocket:
        assert self._tls is not None
        try:
            encrypted = self._tls.wrap_socket(plain, server_hostname=server_hostname)
        except OSError as error:
            raise CheckFailed(tls_failure(error)) from error
        self._authenticate()
        return encrypted

    def _refusal(self, error: Exception) -> CheckFailed:
        failure = _failure(error, FailureCode.PROTOCOL_MISMATCH)
        if failure.code is FailureCode.AUTH_FAILED and self._tls is None:
            failure.remedy = failure.remedy or _NEEDS_TLS
        return failure


def _session_type() -> type[Any]:
    """PyMySQL's connection, which calls `greeted` after the server's greeting and takes no RSA key from a server."""
    from pymysql.connections import Connection
    from pymysql.constants import CLIENT

    class Session(Connection):  # type: ignore[misc]  # PyMySQL has no types
        def _get_server_information(self) -> None:
            super()._get_server_information()
            self.greeted(offers_tls=bool(self.server_capabilities & CLIENT.SSL))

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


class _Refusal:
    """Takes the place of a login method of the driver's, and ends the test before anything is sent."""

    def __init__(self, code: FailureCode, remedy: str) -> None:
        self._code = code
        self._remedy = remedy

    def __call__(self, session: Connection) -> _Refusal:
        del session
        return self

    def authenticate(self, packet: object) -> NoReturn:
        del packet
        raise CheckFailed(self._code, remedy=self._remedy)


_REFUSED_METHODS = {
    **dict.fromkeys(_REVEALING_METHODS, _Refusal(FailureCode.INSECURE_AUTH_REFUSED, _NEVER_IN_CLEAR)),
    # PyMySQL has it only where PyNaCl is installed.
    "client_ed25519": _Refusal(FailureCode.AUTH_FAILED, _NO_SUCH_METHOD),
}


def _failure(error: Exception, otherwise: FailureCode) -> CheckFailed:
    """What `error` of the driver means; `otherwise` where it has no number, or one of the driver's own."""
    if isinstance(error.__context__, TimeoutError):
        return CheckFailed(FailureCode.TIMEOUT)
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number not in _BY_ERRNO:
        return CheckFailed(FailureCode.QUERY_FAILED if 1000 <= number < 2000 or number >= 3000 else otherwise)
    return CheckFailed(_BY_ERRNO[number], remedy=_REMEDIES.get(number))
