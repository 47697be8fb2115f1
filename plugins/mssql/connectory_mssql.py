"""The SQL Server connector: pyodbc, with a driver that never meets the network, as `connectory_mssql_tds` explains.

Error numbers are from Microsoft's "Database Engine events and errors"; keywords of connection strings from FreeTDS's user
guide and from Microsoft's "DSN and Connection String Keywords and Attributes".
"""

from __future__ import annotations

import ctypes
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr

import connectory_mssql_tds as tds
from connectory import (
    CheckContext,
    CheckFailed,
    Connector,
    DeployerSettings,
    Description,
    FailureCode,
    Host,
    Port,
    Secrets,
    SslCaField,
    SslMode,
    SslModeField,
    Text,
    UrlGrammar,
)
from connectory.toolkit import Address, QueryKey, failure_of_sqlstate, is_verified, tls_context

if TYPE_CHECKING:
    from pyodbc import Connection

    from connectory.data import DataSession, SessionContext

# In the order of preference: as unixODBC lists them, then where their packages put them.
_DRIVER_NAMES = ("ODBC Driver 18 for SQL Server", "ODBC Driver 17 for SQL Server", "FreeTDS")
_DRIVER_FILES = (
    "opt/microsoft/msodbcsql18/lib64/libmsodbcsql-18.*.so.*",
    "opt/microsoft/msodbcsql17/lib64/libmsodbcsql-17.*.so.*",
    "usr/lib/*/odbc/libtdsodbc.so",
    "usr/lib64/libtdsodbc.so.0",
)
_MANAGER_LIBRARIES = ("libltdl.so.7", "libodbcinst.so.2", "libodbc.so.2")
_NOT_LOADED = {"01000", "IM002", "IM003", "IM004", "IM005"}  # SQLSTATEs of the driver manager

_BY_NUMBER = {
    4060: FailureCode.DATABASE_NOT_FOUND,  # cannot open the database requested by the login
    4064: FailureCode.DATABASE_NOT_FOUND,  # cannot open the user's default database
    17830: FailureCode.RATE_LIMITED,  # too many connections
    18452: FailureCode.AUTH_FAILED,  # a login of an untrusted domain
    18456: FailureCode.AUTH_FAILED,  # login failed
    18461: FailureCode.PERMISSION_DENIED,  # the server is in single-user mode
    18470: FailureCode.AUTH_FAILED,  # the account is disabled
    18486: FailureCode.AUTH_FAILED,  # the account is locked
    18487: FailureCode.AUTH_FAILED,  # the password has expired
    18488: FailureCode.AUTH_FAILED,  # the password must be changed
    40615: FailureCode.PERMISSION_DENIED,  # Azure: the firewall does not let this address in
}
_NO_DRIVER = (
    "No ODBC driver for SQL Server was found on the service's machine; install FreeTDS (on Debian: apt-get install unixodbc "
    "tdsodbc) or Microsoft's ODBC Driver 18 for SQL Server (msodbcsql18), or name one in CONNECTORY_MSSQL_ODBC_DRIVER."
)
_NO_USER = "SQL Server needs a user name and a password; set both, or write them into the url."
_NEEDS_TLS = "SQL Server's login sends the password itself, so it needs TLS; set ssl_mode to verify-full."
_UNVERIFIED = (
    "SQL Server's login sends the password itself, and the server's certificate was not verified, so it was not sent: set "
    "ssl_mode to verify-full or verify-ca, with ssl_ca for a private CA. A server with the self-signed certificate that SQL "
    "Server makes at each start can be tested only where the operator of this service allows that: "
    "CONNECTORY_ALLOW_CLEARTEXT_IN_UNVERIFIED_TLS."
)
_UNTRUSTED = (
    "The server's certificate was not accepted; check the host name and ssl_ca. The self-signed one that SQL Server makes at "
    "each start cannot be verified: give the server another, or set ssl_mode to required, which works where the operator of "
    "this service allows it (CONNECTORY_ALLOW_CLEARTEXT_IN_UNVERIFIED_TLS)."
)
_REDIRECTED = (
    "The server sends logins on to another server, which is not followed; give the address of that one, "
    "or leave read_only_connection out."
)

_LONGEST = 128  # characters of a name or a password: [MS-TDS], LOGIN7
_REFUSED = ";{}[]"
_REASON = "and without ; { } [ ], which an ODBC connection string does not carry safely"
_PLAIN = Text(f"text without control characters {_REASON}", max_length=_LONGEST, without=_REFUSED)
_LOGIN = Text(
    rf"a login's name without control characters, without \ (Windows accounts are not supported) {_REASON}",
    max_length=_LONGEST,
    without=_REFUSED + "\\",
)
_TRUST = {"yes": SslMode.REQUIRED, "no": SslMode.VERIFY_FULL}


class MSSQLSecrets(Secrets):
    """How to reach a SQL Server database."""

    connectory_url = UrlGrammar(
        schemes={"mssql": {}, "mssql+pyodbc": {}, "mssql+pymssql": {}},
        query={
            "ssl_mode": "ssl_mode",
            "TrustServerCertificate": QueryKey("ssl_mode", _TRUST),
            "read_only": QueryKey("read_only_connection", {"True": True, "False": False, "true": True, "false": False}),
            # The service chooses the driver, and always encrypts.
            "driver": QueryKey(None, dict.fromkeys((*_DRIVER_NAMES, "ODBC Driver 13 for SQL Server", "SQL Server"))),
            "Encrypt": QueryKey(None, dict.fromkeys(("yes", "mandatory", "true"))),
        },
        required_parts=frozenset({"username", "password"}),
    )

    host: Host = Field(title="Host", description="Name or address of the server, without an instance's name.")
    port: Port = Field(default=1433, title="Port", description="TCP port of the server or of its named instance.")
    username: Annotated[str, _LOGIN] | None = Field(default=None, title="Username", description="SQL Server login.")
    password: Annotated[SecretStr, _PLAIN] | None = Field(
        default=None, title="Password", description="Password of the login."
    )
    dbname: Annotated[str, _PLAIN] | None = Field(
        default=None, title="Database", description="Database to open; without it the login's default one."
    )
    read_only_connection: bool = Field(
        default=False, title="Read Only Connection", description="Whether to announce that nothing will be written."
    )
    ssl_mode: SslModeField = Field(
        default=SslMode.VERIFY_FULL,
        description="What to verify of the server's certificate. The login is always encrypted, and sends the password itself.",
    )
    ssl_ca: SslCaField = None


class MSSQLSettings(DeployerSettings):
    """Which ODBC driver to use, where it is not the one that would be found.

    Attributes:
        mssql_odbc_driver: a driver's name as unixODBC lists it, or the path of its library. Default: the first that is found
            of Microsoft's ODBC Driver 18 and 17 and FreeTDS.
        mssql_odbc_folder: folder of unixODBC's libraries (`libodbc.so.2`), where the system's loader does not find them.
    """

    mssql_odbc_driver: str | None = Field(default=None, pattern=r"^[^\x00-\x1f;{}\[\]]+$")
    mssql_odbc_folder: Path | None = None


class MSSQL(Connector[MSSQLSecrets]):
    """Microsoft SQL Server. No drivers are named: pyodbc can be imported only once unixODBC is found."""

    identifier = "mssql"
    type = "database"
    description = Description(
        human_readable="Microsoft SQL Server",
        user_guide="https://learn.microsoft.com/en-us/sql/relational-databases/security/authentication-access/create-a-login",
        category="DATABASE",
        session_modules=("connectory_sql.mssql",),
    )
    settings = MSSQLSettings

    def test(self, secrets: MSSQLSecrets, context: CheckContext) -> None:
        """Log in, and run `SELECT 1` in the database."""
        with ExitStack() as opened:
            database = opened.enter_context(closing(_open(secrets, context, opened)))
            with context.step("query"):
                _query(database, context, "SELECT 1")

    def open_session(self, secrets: MSSQLSecrets, context: SessionContext) -> DataSession:
        """Log in as the test does."""
        from connectory_sql import SqlSession
        from connectory_sql.mssql import MSSQL

        opened = ExitStack()
        try:
            return SqlSession(MSSQL, lambda: _open(secrets, context, opened), context, afterwards=opened.close)
        except BaseException:
            opened.close()
            raise


def _open(secrets: MSSQLSecrets, context: CheckContext, opened: ExitStack) -> Connection:
    """The database, logged in: it works as long as `opened` is."""
    driver = _find_driver(context.settings(MSSQLSettings))
    connection, address = context.connect(secrets.host, secrets.port)
    opened.enter_context(connection)
    session = _encrypt(connection, secrets, context)
    with context.step("authenticate"):
        if refusal := context.cleartext_refusal():
            raise CheckFailed(refusal.code, remedy=_UNVERIFIED)
        relay = opened.enter_context(tds.Relay(session, secrets.host))
        try:
            return _log_in(driver, relay, secrets, secrets.dbname, context)
        except CheckFailed as failure:
            if failure.code is FailureCode.DATABASE_NOT_FOUND and secrets.dbname is not None:
                raise CheckFailed(_missing_or_closed(driver, address, secrets, context)) from failure
            raise


def _find_driver(settings: MSSQLSettings) -> str:
    """The name or path of the driver; loads unixODBC and pyodbc."""
    try:
        if settings.mssql_odbc_folder is not None:
            for library in _MANAGER_LIBRARIES:
                path = settings.mssql_odbc_folder / library
                if path.exists():
                    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        import pyodbc
    except ModuleNotFoundError:
        raise  # pyodbc itself is missing, which is said in its own words
    except (ImportError, OSError) as error:
        raise CheckFailed(FailureCode.DRIVER_MISSING, remedy=_NO_DRIVER) from error
    pyodbc.pooling = False  # or a later test could be given this one's login
    if settings.mssql_odbc_driver is not None:
        return settings.mssql_odbc_driver
    listed = set(pyodbc.drivers())
    found = [name for name in _DRIVER_NAMES if name in listed]
    found += [str(path) for pattern in _DRIVER_FILES for path in sorted(Path("/").glob(pattern))]
    if not found:
        raise CheckFailed(FailureCode.DRIVER_MISSING, remedy=_NO_DRIVER)
    return found[0]


def _encrypt(connection: socket.socket, secrets: MSSQLSecrets, context: CheckContext) -> tds.Session:
    unencrypted = FailureCode.TLS_FAILED if secrets.ssl_mode.needs_tls else FailureCode.INSECURE_AUTH_REFUSED
    with context.step("tls", {tds.NoEncryption: unencrypted}):
        if secrets.ssl_mode is SslMode.DISABLED:
            raise CheckFailed(FailureCode.INSECURE_AUTH_REFUSED, remedy=_NEEDS_TLS)
        connection.settimeout(context.timeout)
        try:
            session = tds.Session(connection, tls_context(secrets.ssl_mode, secrets.ssl_ca), secrets.host)
        except CheckFailed as failure:
            if failure.code is FailureCode.TLS_UNTRUSTED:
                failure.remedy = failure.remedy or _UNTRUSTED
            raise
        context.report_tls(verified=is_verified(session.tls))
        return session


def _log_in(
    driver: str, relay: tds.Relay, secrets: MSSQLSecrets, database: str | None, context: CheckContext
) -> Connection:
    import pyodbc

    if secrets.username is None or secrets.password is None:
        raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_USER)
    # Braces keep spaces and "=" in a value; what would end them is refused by the fields.
    values = {"UID": secrets.username, "PWD": secrets.password.get_secret_value(), "Database": database}
    keywords = _keywords(driver, relay.port) | {key: f"{{{value}}}" for key, value in values.items() if value}
    if secrets.read_only_connection:
        keywords["ApplicationIntent"] = "ReadOnly"
    limit = max(1, int(context.timeout))
    try:
        return pyodbc.connect(autocommit=True, timeout=limit, **keywords)
    except pyodbc.Error as error:
        raise _login_failure(relay, str(error.args[0])) from error


def _keywords(driver: str, port: int) -> dict[str, str]:
    """How each driver is told to connect to the relay. Between it and the server everything is encrypted."""
    name = {"Driver": f"{{{driver}}}", "APP": "connectory"}
    if "tds" in Path(driver).name.lower():
        server = {"Server": "127.0.0.1", "Port": str(port), "TDS_Version": "7.4"}
        return name | server | {"Encryption": "off", "ClientCharset": "UTF-8"}
    return name | {"Server": f"tcp:127.0.0.1,{port}", "Encrypt": "no", "ConnectRetryCount": "0"}


def _login_failure(relay: tds.Relay, sqlstate: str) -> CheckFailed:
    answer = relay.answer
    if answer is None:
        if sqlstate in _NOT_LOADED:
            return CheckFailed(FailureCode.DRIVER_MISSING, remedy=_NO_DRIVER)
        return CheckFailed(FailureCode.PROTOCOL_MISMATCH if relay.abandoned else FailureCode.TIMEOUT)
    if answer.redirected:
        return CheckFailed(FailureCode.UNEXPECTED_REDIRECT, remedy=_REDIRECTED)
    known = [_BY_NUMBER[number] for number in answer.errors if number in _BY_NUMBER]
    if known:
        # 4060 comes together with 18456, although the password was right.
        return CheckFailed(min(known, key=lambda code: code is FailureCode.AUTH_FAILED))
    return CheckFailed(FailureCode.PROTOCOL_MISMATCH if answer.accepted else FailureCode.QUERY_FAILED)


def _missing_or_closed(driver: str, address: Address, secrets: MSSQLSecrets, context: CheckContext) -> FailureCode:
    """Why the database could not be opened: the server's error is the same for one that is missing and one without a grant."""
    try:
        connection = socket.create_connection(address, timeout=context.timeout)
        session = tds.Session(connection, tls_context(secrets.ssl_mode, secrets.ssl_ca), secrets.host)
        with (
            tds.Relay(session, secrets.host) as relay,
            closing(_log_in(driver, relay, secrets, None, context)) as server,
        ):
            allowed = _query(server, context, "SELECT HAS_DBACCESS(?)", secrets.dbname)
    except (CheckFailed, OSError, tds.NoEncryption):
        return FailureCode.DATABASE_NOT_FOUND
    return FailureCode.PERMISSION_DENIED if allowed is not None else FailureCode.DATABASE_NOT_FOUND


def _query(database: Connection, context: CheckContext, statement: str, *values: Any) -> Any:
    """The first value of the answer."""
    import pyodbc

    database.timeout = max(1, int(context.timeout))
    try:
        row = database.cursor().execute(statement, *values).fetchone()
    except pyodbc.Error as error:
        raise CheckFailed(failure_of_sqlstate(error.args[0])) from error
    return row[0] if row is not None else None
