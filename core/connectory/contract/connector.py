"""The base class of connectors: declare what a connector is, and write its test."""

from __future__ import annotations

import builtins
import difflib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_origin

from connectory.contract.check import CheckContext
from connectory.contract.consent import Authorization
from connectory.contract.data import CollectionInfo
from connectory.contract.description import Description
from connectory.contract.hookspecs import ConnectorUnusable, hookimpl
from connectory.contract.secrets import Secrets
from connectory.contract.session import DataSession, SessionContext
from connectory.contract.settings import DeployerSettings

SecretsT = TypeVar("SecretsT", bound=Secrets)


class ConnectorMisdeclared(ConnectorUnusable, TypeError):
    """A class derived from `Connector` declares something wrong; the message says what. It is the reason that people read."""


_DECLARED: dict[str, type] = {"identifier": str, "type": str, "description": Description}
_CALLED = {
    "test": ("self", "secrets", "context"),
    "secret_schema": ("self", "settings"),
    "authorization": ("self", "secrets", "settings"),
    "exchange_code": ("self", "secrets", "code", "code_verifier", "context"),
    "open_session": ("self", "secrets", "context"),
    "collections": ("self", "settings"),
}


def _refuse_mistakes(cls: type[Connector[Any]]) -> None:
    if not (hasattr(cls, "secrets") or vars(cls).get("__parameters__")):
        raise ConnectorMisdeclared(
            f"{cls.__name__}: write the class of its secrets in brackets: Connector[YourSecrets]."
        )
    known = [name for name in dir(Connector) if not name.startswith("_")]
    for name, value in vars(cls).items():
        expected = _DECLARED.get(name)
        if expected is not None and not isinstance(value, (expected, property)):
            raise ConnectorMisdeclared(
                f"{cls.__name__}.{name} must be a {expected.__name__}, not a {type(value).__name__}."
            )
        own = not name.startswith("_") and not any(hasattr(base, name) for base in cls.__mro__[1:])
        if own and (close := difflib.get_close_matches(name, known, n=1, cutoff=0.8)):
            raise ConnectorMisdeclared(
                f"{cls.__name__}.{name} is not an attribute of a connector; did you mean {close[0]}? "
                "Begin names of your own with '_'."
            )
    for name, arguments in _CALLED.items():
        _refuse_signature(cls, name, vars(cls).get(name), arguments)


def _refuse_signature(cls: type[Connector[Any]], name: str, function: Any, arguments: tuple[str, ...]) -> None:
    if not inspect.isfunction(function):
        return
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConnectorMisdeclared(
            f"{cls.__name__}.{name}() is 'async def'; use 'def', because it has a process of its own."
        )
    if inspect.isgeneratorfunction(function):
        raise ConnectorMisdeclared(
            f"{cls.__name__}.{name}() holds 'yield', so calling it would not run it; return or raise."
        )
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        taken = ", ".join(arguments)
        raise ConnectorMisdeclared(f"{cls.__name__}.{name}() must take just these arguments: {taken}.") from None


if TYPE_CHECKING:

    class _Declared(Protocol):
        """What a class derived from `Connector` must declare; without it, it is abstract, which type checkers say.

        Abstract properties would do for mypy, but Pyright, and with it most editors, wants no plain attribute for one.
        """

        identifier: str
        type: str

else:
    _Declared = ABC


class Connector(_Declared, Generic[SecretsT]):
    """One connector. Derive a class from it, with the class of its secrets in brackets, and name that class in the entry point.

    The hooks below are what the service calls; the class answers them from its attributes and from `test`.

    >>> from connectory import CheckContext, CheckFailed, Connector, Description, FailureCode, Host, Port, Secrets, SecretText
    >>>
    >>> class LedgerSecrets(Secrets):
    ...     host: Host
    ...     port: Port = 7000
    ...     token: SecretText
    >>>
    >>> class Ledger(Connector[LedgerSecrets]):
    ...     identifier = "ledger"
    ...     type = "database"
    ...     description = Description(human_readable="Ledger", category="DATABASE")
    ...
    ...     def test(self, secrets: LedgerSecrets, context: CheckContext) -> None:
    ...         with context.open(secrets.host, secrets.port) as link, context.step("authenticate"):
    ...             link.socket.sendall(secrets.token.get_secret_value().encode() + b"\\n")
    ...             if link.socket.recv(2) != b"OK":
    ...                 raise CheckFailed(FailureCode.AUTH_FAILED)

    Attributes:
        identifier: the same as the entry point's name: `^[a-z][a-z0-9_]*$`, at most 64 characters.
        type: the kind of system: `database`, `saas`, `manual`, or a word of your own, `^[a-z][a-z0-9_-]*$`.
        description: what user interfaces show, and the modules of the driver. Default: a name made from the identifier.
        settings: what the plugin asks of the deployer. Default: nothing.
        secrets: the class of the secrets, taken from the brackets.

    Raises:
        ConnectorMisdeclared: when a class is derived whose attributes are not of these types, or resemble one of these names.
    """

    description: Description = Description()
    settings: builtins.type[DeployerSettings] | None = None
    secrets: ClassVar[builtins.type[Secrets]]

    if not TYPE_CHECKING:
        # Properties, so that a class without them is abstract in Python, too. A plain attribute takes their place.
        @property
        @abstractmethod
        def identifier(self) -> str:
            """The connector's identifier."""

        @property
        @abstractmethod
        def type(self) -> str:
            """The kind of system behind it."""

    @abstractmethod
    def test(self, secrets: SecretsT, context: CheckContext) -> None:
        """Prove that `secrets` work, with the least that proves it, and return; or raise.

        Runs in a process of its own that is killed at the deadline, so it may block. Import the driver here, inside.

        Args:
            secrets: valid secrets.
            context: steps, connections to vetted addresses, the deployer's settings, the time that is left.

        Raises:
            CheckFailed: the connection does not work; the code says why.
            CheckSkipped: there is nothing to connect to.
        """

    def secret_schema(self, settings: Any) -> builtins.type[Secrets]:
        """The class that validates the secrets. Override it only where the fields depend on the deployer's settings.

        Args:
            settings: an instance of `settings`, or `None`.
        """
        del settings
        return self.secrets

    def open_session(self, secrets: SecretsT, context: SessionContext) -> DataSession:
        """Optional. Log in, and return a session by which the connection is used. A connector that has this can be discovered.

        Runs as `test` does, and the session after it.

        Args:
            secrets: valid secrets.
            context: as in `test`; `read_only` says whether the server should refuse writes.

        Raises:
            CheckFailed: the connection does not work; the code says why.
        """
        raise NotImplementedError

    def collections(self, settings: Any) -> Sequence[CollectionInfo]:
        """Optional. The collections of a system that has the same ones for everybody. Only computes, and connects to nothing.

        Args:
            settings: an instance of `settings`, or `None`.
        """
        raise NotImplementedError

    def __init_subclass__(cls) -> None:
        """Take the secrets from the brackets, and refuse what is clearly a mistake."""
        super().__init_subclass__()
        for base in vars(cls).get("__orig_bases__", ()):
            origin, arguments = get_origin(base), get_args(base)
            if isinstance(origin, builtins.type) and issubclass(origin, Connector):
                if isinstance(arguments[0], builtins.type) and issubclass(arguments[0], Secrets):
                    cls.secrets = arguments[0]
                elif not isinstance(arguments[0], TypeVar):
                    raise ConnectorMisdeclared(
                        f"{cls.__name__}: the brackets must hold a class derived from connectory.Secrets."
                    )
        _refuse_mistakes(cls)
        _implement_optional_hooks(cls)

    @hookimpl
    def connectory_identifier(self) -> str:
        """Answer the hook from `identifier`."""
        return self.identifier

    @hookimpl
    def connectory_type(self) -> str:
        """Answer the hook from `type`."""
        return self.type

    @hookimpl
    def connectory_secret_schema(self, settings: Any) -> builtins.type[Secrets]:
        """Answer the hook from `secret_schema`."""
        return self.secret_schema(settings)

    @hookimpl
    def connectory_describe(self) -> Description:
        """Answer the hook from `description`."""
        return self.description

    @hookimpl
    def connectory_settings(self) -> builtins.type[DeployerSettings] | None:
        """Answer the hook from `settings`."""
        return self.settings

    @hookimpl
    def connectory_test_connection(self, secrets: Any, context: CheckContext) -> None:
        """Run `test`. What it returns by mistake is for the service to refuse."""
        return self.test(secrets, context)


@hookimpl
def _open_session(self: Connector[Any], secrets: Any, context: SessionContext) -> DataSession:
    """Answer the hook from `open_session`."""
    return self.open_session(secrets, context)


@hookimpl
def _collections(self: Connector[Any], settings: Any) -> Sequence[CollectionInfo]:
    """Answer the hook from `collections`."""
    return self.collections(settings)


def _implement_optional_hooks(cls: builtins.type[Connector[Any]]) -> None:
    """Only a connector that defines the method implements the hook, because the service says by that what it can do."""
    for name, implementation in (("open_session", _open_session), ("collections", _collections)):
        if name in vars(cls):
            setattr(cls, f"connectory_{name}", implementation)


class ConsentingConnector(Connector[SecretsT]):
    """A connector that may need a person's consent, by OAuth 2.0 with an authorization code (RFC 6749 §4.1).

    Its description has `authorization_required=True`.
    """

    @abstractmethod
    def authorization(self, secrets: SecretsT, settings: Any) -> Authorization | None:
        """Where the person consents; `None` where these secrets need no consent. Only computes, and connects to nothing.

        Args:
            secrets: valid secrets.
            settings: an instance of `settings`, or `None`.
        """

    @abstractmethod
    def exchange_code(self, secrets: SecretsT, code: str, code_verifier: str | None, context: CheckContext) -> None:
        """Exchange the authorization code for tokens, and hand them to `context.store_tokens`. Runs as `test` does.

        Args:
            secrets: valid secrets.
            code: what the provider gave the browser.
            code_verifier: what the code challenge was made from; `None` without PKCE.
            context: as in `test`.

        Raises:
            CheckFailed: there are no tokens; the code says why.
        """

    @hookimpl
    def connectory_authorization(self, secrets: Any, settings: Any) -> Authorization | None:
        """Answer the hook from `authorization`."""
        return self.authorization(secrets, settings)

    @hookimpl
    def connectory_exchange_code(
        self, secrets: Any, code: str, code_verifier: str | None, context: CheckContext
    ) -> None:
        """Run `exchange_code`. What it returns by mistake is for the service to refuse."""
        return self.exchange_code(secrets, code, code_verifier, context)
