"""A loaded connector: typed access to its hooks. Nothing else in core touches pluggy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from connectory.catalog.drawings import drawing_complaints
from connectory.catalog.icons import drawn_icon
from connectory.catalog.record import PluginRecord
from connectory.contract.check import CheckContext
from connectory.contract.consent import Authorization
from connectory.contract.data import CollectionInfo
from connectory.contract.description import Description
from connectory.contract.secrets import Secrets
from connectory.contract.session import DataSession, SessionContext
from connectory.contract.settings import DeployerSettings
from connectory.documents.roles import FieldFacts


@dataclass(frozen=True)
class Plugin:
    """The code of one connector, imported: its hooks, and what they need to be called.

    Attributes:
        secrets_model: the class that validates its secrets.
        settings: the deployer's values for the settings it declares, or `None`.
        hooks: pluggy's, with nothing registered but this plugin.
    """

    secrets_model: type[Secrets]
    settings: DeployerSettings | None
    hooks: Any


@dataclass(frozen=True)
class LoadedConnector:
    """One connector that loaded: what is known of it as data, and its `Plugin`, which may be imported later.

    Attributes:
        record: where it comes from.
        system_type: the kind of system: `database`, `saas`, `manual`, or a third party's own word.
        description: what it says of itself; `human_readable` is always set.
        schema: the JSON Schema of the secrets.
        fields: what else is known of their fields, in the order of the schema.
        settings_values: what the deployer has set of the settings it declares, as JSON values; `None` where it declares none.
        asks_for_consent: whether it can say where a person consents: it implements `connectory_authorization`.
        opens_sessions: whether its connections can be used: it implements `connectory_open_session`.
        knows_collections: whether it knows what they hold without connecting: it implements `connectory_collections`.
        plugin: its code. What is above is known without it; in the service, the first call imports it.
    """

    record: PluginRecord
    system_type: str
    description: Description
    schema: dict[str, Any]
    fields: tuple[FieldFacts, ...]
    settings_values: dict[str, Any] | None
    asks_for_consent: bool
    opens_sessions: bool
    knows_collections: bool
    plugin: Callable[[], Plugin]

    @property
    def identifier(self) -> str:
        """The connector's identifier, e.g. `postgres`."""
        return self.record.identifier

    @cached_property
    def icon(self) -> str:
        """The icon to show, an SVG document: its own where it brings a mere drawing, otherwise one drawn from its name."""
        own = self.description.icon
        if own is not None and not any(drawing_complaints(own)):
            return own
        described = self.description
        return drawn_icon(self.identifier, described.human_readable, self.system_type, described.category)

    @cached_property
    def supported_actions(self) -> tuple[str, ...]:
        """What can be done with its connections: what it says, and `discovery` where it can be discovered."""
        said = self.description.supported_actions
        discovered = self.opens_sessions or self.knows_collections
        return (*said, "discovery") if discovered and "discovery" not in said else said

    @cached_property
    def needs_secrets(self) -> bool:
        """Whether its schema has any field at all."""
        return bool(self.schema["properties"])

    @property
    def secrets_model(self) -> type[Secrets]:
        """The class that validates its secrets."""
        return self.plugin().secrets_model

    def configured(self, settings: Mapping[str, Any]) -> LoadedConnector:
        """The same connector under other values of its settings, given as JSON values. `schema` stays as it is."""
        before = self.plugin()
        if before.settings is None or not settings:
            return self
        values = type(before.settings).model_validate(settings)
        plugin = Plugin(before.hooks.connectory_secret_schema(settings=values), values, before.hooks)
        return replace(self, settings_values=dict(settings), plugin=lambda: plugin)

    def authorization(self, secrets: Secrets) -> Authorization | None:
        """Where a person consents to a connection with these secrets; `None` where no consent is needed.

        Raises:
            TypeError: the hook returned something else.
            Exception: whatever else the plugin raises.
        """
        plugin = self.plugin()
        found = plugin.hooks.connectory_authorization(secrets=secrets, settings=plugin.settings)
        if found is not None and not isinstance(found, Authorization):
            raise TypeError("connectory_authorization() must return a connectory.Authorization or None")
        return found

    def exchange_code(self, secrets: Secrets, code: str, code_verifier: str | None, context: CheckContext) -> None:
        """Exchange an authorization code for tokens, which go to `context.store_tokens`, in this process.

        Raises:
            CheckFailed: the connector's verdict.
            TypeError: the hook returned something.
            Exception: whatever else the plugin raises.
        """
        answer = self.plugin().hooks.connectory_exchange_code(
            secrets=secrets, code=code, code_verifier=code_verifier, context=context
        )
        if answer is not None:
            raise TypeError("connectory_exchange_code() must return None; it raises CheckFailed where it fails")

    def open_session(self, secrets: Secrets, context: SessionContext) -> DataSession:
        """Log in, in this process.

        Raises:
            CheckFailed: the connector's verdict.
            TypeError: the hook returned something else.
            Exception: whatever else the plugin or its driver raises.
        """
        session = self.plugin().hooks.connectory_open_session(secrets=secrets, context=context)
        if not isinstance(session, DataSession):
            raise TypeError("connectory_open_session() must return a connectory.data.DataSession")
        return session

    def collections(self) -> tuple[CollectionInfo, ...]:
        """The collections that every connection has, known without connecting.

        Raises:
            TypeError: the hook returned something else.
            Exception: whatever else the plugin raises.
        """
        plugin = self.plugin()
        found = tuple(plugin.hooks.connectory_collections(settings=plugin.settings))
        if not all(isinstance(one, CollectionInfo) for one in found):
            raise TypeError("connectory_collections() must return connectory.data.CollectionInfo only")
        return found

    def test(self, secrets: Secrets, context: CheckContext) -> None:
        """Run the connector's test, in this process.

        Raises:
            CheckFailed, CheckSkipped: the connector's verdict.
            TypeError: the hook returned something. A verdict is raised, so a returned `False` or coroutine would
                otherwise pass for success.
            Exception: whatever else the plugin or its driver raises.
        """
        if self.plugin().hooks.connectory_test_connection(secrets=secrets, context=context) is not None:
            raise TypeError("connectory_test_connection() must return None; it raises CheckFailed where the test fails")
