"""The Snowflake connector: Snowflake's driver, whose native core does the login, and one request of our own where it is silent.

Facts are from Snowflake's documentation ("Account identifiers", "Key-pair authentication", "Object identifiers") and from the
driver's own tables (`snowflake.connector.errors`, `connection_config`).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field, HttpUrl

from connectory import (
    CheckContext,
    CheckFailed,
    DeployerSettings,
    Description,
    Endpoint,
    FailureCode,
    Grammar,
    Name,
    PemPrivateKey,
    Secrets,
    SecretText,
    SslMode,
    UrlGrammar,
    hookimpl,
    path_of,
    rsa_private_key,
    system_certificates,
    tls_context,
    tls_failure,
)
from connectory_snowflake_relay import relay

if TYPE_CHECKING:
    from snowflake.connector import Error, SnowflakeConnection

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
    '<path d="M12 2v20M3 7l18 10M3 17L21 7M9 4l3 3 3-3M9 20l3-3 3 3" fill="none" stroke="#29a8df" stroke-width="2"/></svg>'
)

# Letters, digits, `-` and `_` in labels separated by dots; short enough that the host below is a host name (RFC 1035 §2.3.4).
_ACCOUNT = r"(?=[A-Za-z0-9_.-]{1,200}(?:$|[/?]))[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_LOGIN_PATH = "/session/v1/login-request"

# Codes that a login is answered with. Where Snowflake names no other, a code of this range means that the login is refused.
_LOGIN_CODES = range(390000, 391000)
_WRONG_PASSWORD = 390100
_WRONG_TOKEN = 390144
_ROLE_NOT_GRANTED = 390189
_ADDRESS_REFUSED = 390422
_TIMEOUT_SQLSTATE = "HYT00"
_NO_PRIVILEGE_SQLSTATE = "42501"

_REFUSED = (
    "Snowflake refused the login, though not for a wrong password; its LOGIN_HISTORY says why (the user may be locked)."
)
_WRONG_KEY = (
    "Snowflake rejected the key pair; check the user name, and that its RSA_PUBLIC_KEY belongs to this private key."
)
_UNREADABLE_KEY = "The private key is no readable RSA key, or the passphrase does not open it."
_NO_ACCOUNT = "Snowflake knows no account of this name; check account_identifier (without .snowflakecomputing.com)."
_NO_ROLE = "The role does not exist or is not granted to the user; check role_name."
_NO_WAREHOUSE = "The warehouse does not exist, or the role may not use it; check warehouse_name and the role's grants."
_NO_DATABASE = "The database does not exist, or the role may not use it; check database_name and the role's grants."
_NO_SCHEMA = (
    "The schema does not exist in the database, or the role may not use it; check schema_name and the role's grants."
)
_UNTRUSTED = "The certificate of Snowflake's host was not accepted; check account_identifier, and this service's CA certificates."
_NETWORK_POLICY = "A network policy of Snowflake's refuses this service's address; ask the account's administrator."


class SnowflakeSecrets(Secrets):
    """How to reach a Snowflake account."""

    connectory_url = UrlGrammar(
        schemes={"snowflake": {}},
        host="account_identifier",
        port=None,
        username="user_login_name",
        path=("database_name", "schema_name"),
        query={"warehouse": "warehouse_name", "role": "role_name"},
        required=frozenset({"account_identifier", "user_login_name"}),
        required_parts=frozenset({"warehouse_name"}),
        host_pattern=_ACCOUNT,
    )
    connectory_exactly_one = (("password", "private_key"),)

    account_identifier: Annotated[
        str,
        Grammar(pattern=_ACCOUNT, expected="an account identifier such as myorg-myaccount", max_length=200),
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
    warehouse_name: Name | None = Field(default=None, title="Warehouse", description="Warehouse that runs the queries.")
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


@hookimpl
def connectory_identifier() -> str:
    """The identifier."""
    return "snowflake"


@hookimpl
def connectory_type() -> str:
    """The system type."""
    return "database"


@hookimpl
def connectory_secret_schema() -> type[Secrets]:
    """The fields of a connection."""
    return SnowflakeSecrets


@hookimpl
def connectory_settings() -> type[DeployerSettings]:
    """The settings of the deployer."""
    return SnowflakeSettings


@hookimpl
def connectory_describe() -> Description:
    """What user interfaces show."""
    return Description(
        human_readable="Snowflake",
        icon=_ICON,
        user_guide="https://docs.snowflake.com/en/user-guide/key-pair-auth",
        category="DATABASE",
        # The driver itself starts threads when it is imported, which do not survive the fork of a test's process; what it
        # imports first, and takes most of the time, does.
        drivers=("google.protobuf.descriptor_pb2", "google.protobuf.internal.builder", "tomlkit"),
    )


@hookimpl
def connectory_test_connection(secrets: SnowflakeSecrets, context: CheckContext) -> None:
    """Log in, ask for the session's role, warehouse, database and schema, and compare them with those that were given."""
    server = _server(secrets.account_identifier, context.settings(SnowflakeSettings).snowflake_endpoint)
    credentials = _credentials(secrets)
    connection, address = context.connect(server.host, server.port)
    with (
        _secured(connection, server, context) as connection,
        relay(server.scheme, server.host, server.port, address) as proxy_port,
    ):
        with context.step("authenticate"):
            session = _log_in(secrets, credentials, server, proxy_port, connection, context)
        try:
            with context.step("query"):
                _check_session(session, secrets)
        finally:
            session.close(retry=False)


def _server(account: str, endpoint: HttpUrl | None) -> _Server:
    if endpoint is not None:
        return _Server(endpoint.scheme, (endpoint.host or "").strip("[]"), endpoint.port or 443)
    in_china = any(label.lower().startswith("cn-") for label in account.split(".")[1:])
    return _Server("https", f"{account.replace('_', '-')}.snowflakecomputing.{'cn' if in_china else 'com'}", 443)


def _secured(connection: socket.socket, server: _Server, context: CheckContext) -> socket.socket:
    """The connection with TLS on it, whose failures the driver reports only as text; plain where the deployer chose http."""
    if server.scheme == "http":
        context.skip_step("tls")
        return connection
    with context.step("tls"):
        connection.settimeout(context.timeout)
        try:
            return tls_context(SslMode.VERIFY_FULL, None).wrap_socket(connection, server_hostname=server.host)
        except OSError as error:
            connection.close()
            code = tls_failure(error)
            remedy = _UNTRUSTED if code is FailureCode.TLS_UNTRUSTED else None
            raise CheckFailed(code, remedy=remedy) from error


def _log_in(
    secrets: SnowflakeSecrets,
    credentials: dict[str, Any],
    server: _Server,
    proxy_port: int,
    connection: socket.socket,
    context: CheckContext,
) -> SnowflakeConnection:
    # The driver's core reads these when it is loaded: no configuration file is looked for, and no cloud's metadata service.
    os.environ |= {"SNOWFLAKE_HOME": "/nonexistent", "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true"}
    connector = _driver()
    seconds = max(1, int(context.timeout))
    trusted: AbstractContextManager[str | None] = nullcontext()
    if server.scheme == "https":
        trusted = path_of(system_certificates())
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
            "query_timeout": seconds,
            "request_timeout": seconds,
            "retry_max_attempts": 1,
            "proxy_host": "127.0.0.1",
            "proxy_port": proxy_port,
            "use_proxy_env": False,
            "application": "connectory",
            "client_store_temporary_credential": False,
            "client_out_of_band_telemetry_enabled": False,
            "crl_enable_disk_caching": False,
            "session_parameters": {"CLIENT_TELEMETRY_ENABLED": False},
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
            raise _login_failure(error, secrets, server, connection, context) from error
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
    error: Error, secrets: SnowflakeSecrets, server: _Server, connection: socket.socket, context: CheckContext
) -> CheckFailed:
    if error.sqlstate == _TIMEOUT_SQLSTATE:
        return CheckFailed(FailureCode.TIMEOUT)
    if error.errno == _ROLE_NOT_GRANTED:
        return CheckFailed(FailureCode.PERMISSION_DENIED, remedy=_NO_ROLE)
    if error.errno == _ADDRESS_REFUSED:
        return CheckFailed(FailureCode.PERMISSION_DENIED, remedy=_NETWORK_POLICY)
    if error.errno == _WRONG_PASSWORD:
        return CheckFailed(FailureCode.AUTH_FAILED)
    if error.errno == _WRONG_TOKEN:
        return CheckFailed(FailureCode.AUTH_FAILED, remedy=_WRONG_KEY)
    if error.errno in _LOGIN_CODES:
        return CheckFailed(FailureCode.AUTH_FAILED, remedy=_REFUSED)
    return _http_failure(secrets.account_identifier, server, connection, context)


def _http_failure(account: str, server: _Server, connection: socket.socket, context: CheckContext) -> CheckFailed:
    """Why a login got no answer of Snowflake's, by the HTTP status of one without credentials; the driver has it as text."""
    connection.settimeout(context.timeout)
    asking = http.client.HTTPConnection(server.host, server.port)
    asking.sock = connection
    try:
        asking.request(
            "POST",
            _LOGIN_PATH,
            json.dumps({"data": {"ACCOUNT_NAME": account}}),
            {"Content-Type": "application/json", "Accept": "application/json"},
        )
        status = asking.getresponse().status
    except TimeoutError:
        return CheckFailed(FailureCode.TIMEOUT)
    except (http.client.HTTPException, OSError):
        return CheckFailed(FailureCode.PROTOCOL_MISMATCH)
    if status in {403, 404}:
        return CheckFailed(FailureCode.HTTP_4XX, remedy=_NO_ACCOUNT)
    if status == 429:
        return CheckFailed(FailureCode.RATE_LIMITED)
    by_hundreds = {3: FailureCode.UNEXPECTED_REDIRECT, 4: FailureCode.HTTP_4XX, 5: FailureCode.HTTP_5XX}
    return CheckFailed(by_hundreds.get(status // 100, FailureCode.PROTOCOL_MISMATCH))


def _check_session(session: SnowflakeConnection, secrets: SnowflakeSecrets) -> None:
    """A session opens without what it was asked for and may not use, so ask it what it is in."""
    from snowflake import connector

    try:
        cursor = session.cursor().execute(
            "SELECT CURRENT_ROLE(), CURRENT_WAREHOUSE(), CURRENT_DATABASE(), CURRENT_SCHEMA()"
        )
        role, warehouse, database, schema = cursor.fetchall()[0]
    except connector.Error as error:
        known = {_TIMEOUT_SQLSTATE: FailureCode.TIMEOUT, _NO_PRIVILEGE_SQLSTATE: FailureCode.PERMISSION_DENIED}
        raise CheckFailed(known.get(error.sqlstate or "", FailureCode.QUERY_FAILED)) from error
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
