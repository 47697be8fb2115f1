"""The hooks of a connector: the whole of what a plugin implements.

A plugin is a module (or any object) named by an entry point of group `connectory.connectors`. The entry point's name is
the connector's identifier. A complete plugin for an imaginary "Ledger" server, which `doctest` runs as it stands:

>>> import connectory
>>> from connectory import CheckContext, CheckFailed, FailureCode, Host, Port, Secrets, SecretText, hookimpl
>>>
>>> class LedgerSecrets(Secrets):
...     host: Host
...     port: Port = 7000
...     token: SecretText
>>>
>>> class LedgerPlugin:
...     @hookimpl
...     def connectory_identifier(self) -> str:
...         return "ledger"
...
...     @hookimpl
...     def connectory_type(self) -> str:
...         return "database"
...
...     @hookimpl
...     def connectory_secret_schema(self) -> type[Secrets]:
...         return LedgerSecrets
...
...     @hookimpl
...     def connectory_test_connection(self, secrets: LedgerSecrets, context: CheckContext) -> None:
...         connection, _ = context.connect(secrets.host, secrets.port)
...         with connection, context.step("authenticate"):
...             connection.sendall(secrets.token.get_secret_value().encode() + b"\\n")
...             if connection.recv(2) != b"OK":
...                 raise CheckFailed(FailureCode.AUTH_FAILED)

An implementation may take fewer arguments than its hook offers: new information only ever comes as a new optional
argument or as a member of `context`, so a plugin written today keeps working.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from connectory.contract.check import CheckContext
from connectory.contract.consent import Authorization
from connectory.contract.data import CollectionInfo
from connectory.contract.description import Description
from connectory.contract.secrets import Secrets
from connectory.contract.session import DataSession, SessionContext
from connectory.contract.settings import DeployerSettings

PROJECT_NAME = "connectory"

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)
"""Marks a function as the implementation of the hook of the same name."""


class ConnectorUnusable(Exception):
    """Raised while a plugin loads, by its module or by one of its hooks but the test: this connector cannot be used.

    Its record is then `failed`, and `message` is the reason that people read, so it must be one line that says what is
    wrong, where, and what to do. Other exceptions show by their type only, because their text may hold anything.

    Args:
        message: at most 500 printable characters. Never put a secret, or the value of an environment variable, into it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@hookspec(firstresult=True)
def connectory_identifier() -> str:
    """The connector's identifier, the same as its entry point's name: `^[a-z][a-z0-9_]*$`, at most 64 characters.

    >>> from connectory import hookimpl
    >>> @hookimpl
    ... def connectory_identifier() -> str:
    ...     return "ledger"
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_type() -> str:
    """The kind of system behind it: `database`, `saas`, `manual`, or a word of your own, `^[a-z][a-z0-9_-]*$`.

    >>> from connectory import hookimpl
    >>> @hookimpl
    ... def connectory_type() -> str:
    ...     return "database"
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_secret_schema(settings: DeployerSettings | None) -> type[Secrets]:
    """The fields that a connection needs. The JSON Schema that consumers read is made from it. Imports no driver.

    Args:
        settings: the deployer's values, for the rare plugin whose fields depend on them; `None` where it declares none.

    >>> from connectory import Secrets, SecretText, hookimpl
    >>> class LedgerSecrets(Secrets):
    ...     token: SecretText
    >>> @hookimpl
    ... def connectory_secret_schema() -> type[Secrets]:
    ...     return LedgerSecrets
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_test_connection(secrets: Secrets, context: CheckContext) -> None:
    """Prove that `secrets` work, with the least that proves it, and return; or raise.

    Runs in a process of its own that is killed at the deadline, so it may block. Import the driver here, inside.
    Connect only to addresses from `context.resolve` or `context.connect`.

    Args:
        secrets: an instance of the class that `connectory_secret_schema` returned.
        context: deadline, steps, name resolution, deployer settings.

    Raises:
        CheckFailed: the connection does not work; the code says why.
        CheckSkipped: there is nothing to connect to.

    >>> from connectory import CheckFailed, FailureCode, hookimpl
    >>> @hookimpl
    ... def connectory_test_connection(secrets, context) -> None:
    ...     connection, address = context.connect(secrets.host, secrets.port)
    ...     with connection, context.step("query"):
    ...         connection.sendall(b"PING\\n")
    ...         if connection.recv(5) != b"PONG\\n":
    ...             raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_describe() -> Description:
    """Optional. Name, icon, user guide and drivers of the connector. Must be cheap.

    >>> from connectory import Description, hookimpl
    >>> @hookimpl
    ... def connectory_describe() -> Description:
    ...     return Description(human_readable="Ledger", category="DATABASE")
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_settings() -> type[DeployerSettings]:
    """Optional. Settings that only the deployer may give, as environment variables; see `DeployerSettings`.

    >>> from connectory import DeployerSettings, hookimpl
    >>> class LedgerSettings(DeployerSettings):
    ...     ledger_endpoint: str = "https://ledger.example"
    >>> @hookimpl
    ... def connectory_settings() -> type[DeployerSettings]:
    ...     return LedgerSettings
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_authorization(secrets: Secrets, settings: DeployerSettings | None) -> Authorization | None:
    """Optional. Where a person consents to this connection in a browser; `None` where no consent is needed.

    Must only compute: it runs in the service itself. A connector that implements it sets `authorization_required` in its
    description, and implements `connectory_exchange_code`.

    Args:
        secrets: an instance of the class that `connectory_secret_schema` returned.
        settings: the deployer's values; `None` where the plugin declares none.

    >>> from connectory import hookimpl
    >>> from connectory.consent import Authorization
    >>> @hookimpl
    ... def connectory_authorization(secrets, settings) -> Authorization | None:
    ...     return Authorization(
    ...         authorize_url="https://ledger.example/authorize",
    ...         token_url="https://ledger.example/token",
    ...         client_id=secrets.client_id,
    ...         redirect_uri=secrets.redirect_uri,
    ...         pkce=True,
    ...     )
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_exchange_code(secrets: Secrets, code: str, code_verifier: str | None, context: CheckContext) -> None:
    """Optional. Exchange the authorization code for tokens, and hand them to `context.store_tokens`.

    Runs like a test: in a process of its own, until its deadline, connecting only to addresses from `context`.

    Args:
        secrets: an instance of the class that `connectory_secret_schema` returned.
        code: what the provider gave the browser.
        code_verifier: what the code challenge was made from; `None` without PKCE.
        context: deadline, steps, name resolution, deployer settings, and where to store tokens.

    Raises:
        CheckFailed: there are no tokens; the code says why.

    >>> from connectory import CheckFailed, FailureCode, hookimpl
    >>> @hookimpl
    ... def connectory_exchange_code(secrets, code, context) -> None:
    ...     connection, address = context.connect("ledger.example", 7000)
    ...     with connection, context.step("authenticate"):
    ...         connection.sendall(b"CODE " + code.encode())
    ...         token = connection.recv(64).decode().strip()
    ...         if not token:
    ...             raise CheckFailed(FailureCode.AUTH_FAILED)
    ...     context.store_tokens({"access_token": token})
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_open_session(secrets: Secrets, context: SessionContext) -> DataSession:
    """Optional. Log in, and return a session by which the connection is used: what it holds, and how it is read.

    Runs like a test, and the session after it: in a process of its own, connecting only to addresses from `context`. Import the
    driver here, inside.

    Args:
        secrets: an instance of the class that `connectory_secret_schema` returned.
        context: as in a test; `read_only` says whether the server should refuse writes.

    Raises:
        CheckFailed: the connection does not work; the code says why.

    >>> from connectory import hookimpl
    >>> from connectory.data import CollectionInfo, CollectionRef, DataSession, FieldInfo, Kind
    >>> class LedgerSession(DataSession):
    ...     def __init__(self, connection) -> None:
    ...         self._connection = connection
    ...
    ...     def discover(self, namespace=None, sample=1000):
    ...         yield CollectionInfo(CollectionRef("2026"), (FieldInfo(("amount",), Kind.DECIMAL, "money"),))
    ...
    ...     def close(self) -> None:
    ...         self._connection.close()
    >>> @hookimpl
    ... def connectory_open_session(secrets, context) -> DataSession:
    ...     connection, address = context.connect(secrets.host, secrets.port)
    ...     return LedgerSession(connection)
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def connectory_collections(settings: DeployerSettings | None) -> Sequence[CollectionInfo]:
    """Optional. The collections of a system that has the same ones for everybody, known without connecting. Must be cheap.

    Args:
        settings: the deployer's values; `None` where the plugin declares none.

    >>> from connectory import hookimpl
    >>> from connectory.data import CollectionInfo, CollectionRef, FieldInfo, Kind
    >>> @hookimpl
    ... def connectory_collections(settings) -> list[CollectionInfo]:
    ...     return [CollectionInfo(CollectionRef("user"), (FieldInfo(("email",), Kind.STRING, "string"),))]
    """
    raise NotImplementedError


REQUIRED_HOOKS = (
    "connectory_identifier",
    "connectory_type",
    "connectory_secret_schema",
    "connectory_test_connection",
)
OPTIONAL_HOOKS = (
    "connectory_describe",
    "connectory_settings",
    "connectory_authorization",
    "connectory_exchange_code",
    "connectory_open_session",
    "connectory_collections",
)
