"""The Snowflake connector: Snowflake's driver, whose native core does the login, and one request of our own where it is silent.

Facts are from Snowflake's documentation ("Account identifiers", "Key-pair authentication", "Object identifiers") and from the
driver's own tables (`snowflake.connector.errors`, `connection_config`).
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field, HttpUrl

from connectory import (
    CheckContext,
    CheckFailed,
    Connector,
    DeployerSettings,
    Description,
    Endpoint,
    FailureCode,
    Name,
    Secrets,
    SecretText,
    SslMode,
    Text,
    UrlGrammar,
)
from connectory.toolkit import (
    Failures,
    Link,
    PemPrivateKey,
    failure_of_sqlstate,
    failure_of_status,
    path_of,
    rsa_private_key,
    wait_in,
)
from connectory_snowflake_relay import relay

if TYPE_CHECKING:
    from snowflake.connector import Error, SnowflakeConnection

    from connectory.data import DataSession, SessionContext

# Letters, digits, `-` and `_` in labels separated by dots.
_ACCOUNT = r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*"
_LOGIN_PATH = "/session/v1/login-request"
# What ends our own request, once TLS is set up.
_NO_ANSWER: Failures = {
    http.client.HTTPException: FailureCode.PROTOCOL_MISMATCH,
    ssl.SSLError: FailureCode.PROTOCOL_MISMATCH,
}

_UNREADABLE_KEY = "The private key is not a readable RSA key, or the passphrase does not open it."
_NO_ACCOUNT = "Snowflake knows no account of this name; check account_identifier (without .snowflakecomputing.com)."
_NO_ROLE = "The role does not exist or is not granted to the user; check role_name."
_NO_WAREHOUSE = "The warehouse does not exist, or the role may not use it; check warehouse_name and the role's grants."
_NO_DATABASE = "The database does not exist, or the role may not use it; check database_name and the role's grants."
_NO_SCHEMA = (
    "The schema does not exist in the database, or the role may not use it; check schema_name and the role's grants."
)
_UNTRUSTED = "The certificate of Snowflake's host was not accepted; check account_identifier, and this service's CA certificates."
_REFUSED = (
    "Snowflake refused the login, though not for a wrong password; its LOGIN_HISTORY says why (the user may be locked)."
)
_WRONG_KEY = (
    "Snowflake rejected the key pair; check the user name, and that its RSA_PUBLIC_KEY belongs to this private key."
)
_NETWORK_POLICY = "A network policy of Snowflake's refuses this service's address; ask the account's administrator."

# Codes that a login is answered with. Where Snowflake names no other, a code of this range means that the login is refused.
_LOGIN_CODES = range(390000, 391000)
_LOGIN_FAILURES = {
    390100: (FailureCode.AUTH_FAILED, None),  # wrong password
    390144: (FailureCode.AUTH_FAILED, _WRONG_KEY),  # wrong token
    390189: (FailureCode.PERMISSION_DENIED, _NO_ROLE),  # role not granted
    390422: (FailureCode.PERMISSION_DENIED, _NETWORK_POLICY),  # address refused
}


class SnowflakeSecrets(Secrets):
    """How to reach a Snowflake account."""

    connectory_url = UrlGrammar(
        schemes={"snowflake": {}},
        host="account_identifier",
        port=None,
        username="user_login_name",
        path=("database_name", "schema_name"),
        query={"warehouse": "warehouse_name", "role": "role_name"},
        host_pattern=_ACCOUNT,
    )
    connectory_exactly_one = (("password", "private_key"),)

    account_identifier: Annotated[
        str,
        # Short enough that the host below is a host name (RFC 1035 §2.3.4).
        Text("an account identifier such as myorg-myaccount", max_length=200, pattern=_ACCOUNT),
        Endpoint(),
    ] = Field(title="Account Name", description="Account identifier, without .snowflakecomputing.com.")
    user_login_name: Name = Field(title="Username", description="Login name of the user.")
    password: SecretText | None = Field(
        default=None, title="Password", description="Password of the user; leave it out where a private key is given."
    )
    private_key: PemPrivateKey | None = Field(
        default=None, title="Private key", description="RSA private key (PEM) for key-pair authentication."
    )
    private_key_passphrase: SecretText | None = Field(
        default=None, title="Passphrase", description="Passphrase of the private key, where the key is encrypted."
    )
    warehouse_name: Name | None = Field(
        default=None,
        title="Warehouse",
        description="Warehouse that must exist and be usable; the user's default warehouse when left out.",
    )
    database_name: Name | None = Field(
        default=None, title="Database", description="Database that must exist and be usable; not checked when left out."
    )
    schema_name: Name | None = Field(
        default=None, title="Schema", description="Schema that must exist and be usable; not checked when left out."
    )
    role_name: Name | None = Field(
        default=None, title="Role", description="Role of the session; the user's default role when left out."
    )


class SnowflakeSettings(DeployerSettings):
    """What the deployer may set.

    Attributes:
        snowflake_endpoint: `scheme://host:port` to connect to instead of the account's own host, for private endpoints and
            stand-ins. Passwords go there as they would go to Snowflake: `http` is for loopback only.
    """

    snowflake_endpoint: HttpUrl | None = None


class _Server(NamedTuple):
    scheme: str
    host: str
    port: int


class Snowflake(Connector[SnowflakeSecrets]):
    """Snowflake."""

    identifier = "snowflake"
    type = "database"
    description = Description(
        human_readable="Snowflake",
        user_guide="https://docs.snowflake.com/en/user-guide/key-pair-auth",
        category="DATABASE",
        # The driver itself starts threads when it is imported, which do not survive the fork of a test's process; what it
        # imports first, and takes most of the time, does.
        drivers=("google.protobuf.descriptor_pb2", "google.protobuf.internal.builder", "tomlkit"),
        session_modules=("connectory_sql.snowflake",),
    )
    settings = SnowflakeSettings

    def test(self, secrets: SnowflakeSecrets, context: CheckContext) -> None:
        """Log in, ask for the session's role, warehouse, database and schema, and compare them with those that were given."""
        with ExitStack() as opened:
            session = _open(secrets, context, opened)
            try:
                with context.step("query"):
                    _check_session(session, secrets)
            finally:
                session.close(retry=False)

    def open_session(self, secrets: SnowflakeSecrets, context: SessionContext) -> DataSession:
        """Log in as the test does."""
        from connectory_sql import SqlSession
        from connectory_sql.snowflake import SNOWFLAKE, schema_named

        def log_in() -> SnowflakeConnection:
            session = _open(secrets, context, opened, context.time_in_all)
            with context.step("query"):
                _check_session(session, secrets)
            return session

        opened = ExitStack()
        try:
            schema = schema_named(secrets.schema_name)
            return SqlSession(SNOWFLAKE, log_in, context, schema=schema, afterwards=opened.close)
        except BaseException:
            opened.close()
            raise


def _open(
    secrets: SnowflakeSecrets, context: CheckContext, opened: ExitStack, time_in_all: float | None = None
) -> SnowflakeConnection:
    """A session that works as long as `opened` is.

    Args:
        secrets: to log in with.
        context: of the test or session.
        opened: closes what the session needs.
        time_in_all: seconds that a statement may take. Default: what the log-in may take.
    """
    server = _server(secrets.account_identifier, context.settings(SnowflakeSettings).snowflake_endpoint)
    credentials = _credentials(secrets)
    # A connection of our own first: what fails with TLS, the driver reports only as text.
    tls = SslMode.VERIFY_FULL if server.scheme == "https" else SslMode.DISABLED
    link = opened.enter_context(context.open(server.host, server.port, tls=tls, untrusted=_UNTRUSTED))
    proxy_port = opened.enter_context(relay(server.scheme, server.host, server.port, link.address))
    with context.step("authenticate", _NO_ANSWER):
        return _log_in(secrets, credentials, server, proxy_port, link, context, time_in_all)


def _server(account: str, endpoint: HttpUrl | None) -> _Server:
    if endpoint is not None:
        return _Server(endpoint.scheme, (endpoint.host or "").strip("[]"), endpoint.port or 443)
    in_china = any(label.lower().startswith("cn-") for label in account.split(".")[1:])
    return _Server("https", f"{account.replace('_', '-')}.snowflakecomputing.{'cn' if in_china else 'com'}", 443)


def _log_in(
    secrets: SnowflakeSecrets,
    credentials: dict[str, Any],
    server: _Server,
    proxy_port: int,
    link: Link,
    context: CheckContext,
    time_in_all: float | None,
) -> SnowflakeConnection:
    # The driver's core reads these when it is loaded: no configuration file is looked for, and no cloud's metadata service.
    os.environ |= {"SNOWFLAKE_HOME": "/nonexistent", "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true"}
    connector = _driver()
    seconds = max(1, int(context.timeout))
    # The server ends a statement by itself then, also when its client has been killed.
    limit = seconds if time_in_all is None else max(1, int(time_in_all))
    trusted: AbstractContextManager[str | None] = nullcontext() if link.ca is None else path_of(link.ca)
    with trusted as trusted_path:
        parameters = {
            "account": secrets.account_identifier,
            "user": secrets.user_login_name,
            "warehouse": secrets.warehouse_name,
            "database": secrets.database_name,
            "schema": secrets.schema_name,
            "role": secrets.role_name,
            "protocol": server.scheme,
            "host": f"[{server.host}]" if ":" in server.host else server.host,
            "port": server.port,
            "custom_root_store_path": trusted_path,
            "login_timeout": seconds,
            "connect_timeout": seconds,
            "query_timeout": limit,
            "request_timeout": limit,
            "retry_max_attempts": 1,
            "proxy_host": "127.0.0.1",
            "proxy_port": proxy_port,
            "use_proxy_env": False,
            "application": "connectory",
            "client_store_temporary_credential": False,
            "client_out_of_band_telemetry_enabled": False,
            "crl_enable_disk_caching": False,
            "session_parameters": {"CLIENT_TELEMETRY_ENABLED": False, "STATEMENT_TIMEOUT_IN_SECONDS": limit},
            "logout_max_attempts": 1,
            "logout_total_timeout_seconds": 1,
            "server_session_keep_alive": False,
            "enable_server_session_keep_alive_auto_detection": False,
            "auto_cleanup": False,
        }
        try:
            session: SnowflakeConnection = connector.connect(
                **{name: value for name, value in (parameters | credentials).items() if value is not None}
            )
        except connector.Error as error:
            raise _login_failure(error, secrets, server, link, context) from error
    return session


def _driver() -> ModuleType:
    """The driver's module. One whose native library does not load raises an error of its own, and is as good as missing."""
    with _hidden("pandas", "pyarrow", "numpy", "sqlalchemy"):
        try:
            from snowflake import connector
        except ImportError:
            raise
        except Exception as error:
            raise ImportError(name="snowflake.connector") from error
    return connector


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Make `modules` look absent: the driver imports them if it can, which takes longer than the login, and needs none."""
    absent: dict[str, Any] = {name: None for name in modules if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _credentials(secrets: SnowflakeSecrets) -> dict[str, Any]:
    """What the driver logs in with; a key as unencrypted PKCS#8, the one form that it need not guess."""
    if secrets.private_key is None:
        return {"authenticator": "SNOWFLAKE", "password": secrets.password and secrets.password.get_secret_value()}
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    passphrase = secrets.private_key_passphrase.get_secret_value() if secrets.private_key_passphrase else None
    key = rsa_private_key(secrets.private_key.get_secret_value(), passphrase, remedy=_UNREADABLE_KEY)
    encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {"authenticator": "SNOWFLAKE_JWT", "private_key": encoded}


def _login_failure(
    error: Error, secrets: SnowflakeSecrets, server: _Server, link: Link, context: CheckContext
) -> CheckFailed:
    if failure_of_sqlstate(error.sqlstate) is FailureCode.TIMEOUT:
        return CheckFailed(FailureCode.TIMEOUT)
    if error.errno in _LOGIN_CODES:
        code, remedy = _LOGIN_FAILURES.get(error.errno, (FailureCode.AUTH_FAILED, _REFUSED))
        return CheckFailed(code, remedy=remedy)
    answer = _answer_to_login(secrets.account_identifier, server, link, context)
    if answer.status in {401, 403, 404}:
        return CheckFailed(FailureCode.HTTP_4XX, remedy=_NO_ACCOUNT)
    code = failure_of_status(answer.status) or FailureCode.PROTOCOL_MISMATCH
    return CheckFailed(code, retry_after=wait_in(answer.getheader("Retry-After")))


def _answer_to_login(account: str, server: _Server, link: Link, context: CheckContext) -> http.client.HTTPResponse:
    """The HTTP answer to a login without credentials: where Snowflake does not answer a login, the driver has it only as text."""
    link.socket.settimeout(context.timeout)
    asking = http.client.HTTPConnection(server.host, server.port)
    asking.sock = link.socket
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    asking.request("POST", _LOGIN_PATH, json.dumps({"data": {"ACCOUNT_NAME": account}}), headers)
    return asking.getresponse()


def _check_session(session: SnowflakeConnection, secrets: SnowflakeSecrets) -> None:
    """A session opens without what it was asked for and may not use, so ask it what it is in."""
    from snowflake import connector

    try:
        cursor = session.cursor().execute(
            "SELECT CURRENT_ROLE(), CURRENT_WAREHOUSE(), CURRENT_DATABASE(), CURRENT_SCHEMA()"
        )
        role, warehouse, database, schema = cursor.fetchall()[0]
    except connector.Error as error:
        raise CheckFailed(failure_of_sqlstate(error.sqlstate)) from error
    for given, current, code, remedy in (
        (secrets.role_name, role, FailureCode.PERMISSION_DENIED, _NO_ROLE),
        (secrets.warehouse_name, warehouse, FailureCode.PERMISSION_DENIED, _NO_WAREHOUSE),
        (secrets.database_name, database, FailureCode.DATABASE_NOT_FOUND, _NO_DATABASE),
        (secrets.schema_name, schema, FailureCode.SCHEMA_NOT_FOUND, _NO_SCHEMA),
    ):
        if given is not None and not _is_named(current, given):
            raise CheckFailed(code, remedy=remedy)


def _is_named(current: str | None, given: str) -> bool:
    """Whether the identifier `given` names `current`: exactly where it is quoted, otherwise whatever the case."""
    if current is None:
        return False
    if len(given) > 2 and given[0] == given[-1] == '"':
        return given[1:-1].replace('""', '"') == current
    return given.upper() == current.upper()
