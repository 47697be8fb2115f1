"""A loaded connector: typed access to its hooks. Nothing else in core touches pluggy."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from connectory.catalog.record import PluginRecord
from connectory.contract.authorization import Authorization
from connectory.contract.check import CheckContext
from connectory.contract.description import Description
from connectory.contract.secrets import Secrets
from connectory.contract.settings import DeployerSettings


@dataclass(frozen=True)
class Connector:
    """One connector, verified when it was loaded.

    Attributes:
        record: where it comes from.
        system_type: the kind of system: `database`, `saas`, `manual`, or a third party's own word.
        description: what it says of itself; `human_readable` is always set.
        secrets_model: the class that validates its secrets.
        schema: the JSON Schema of the secrets.
        settings: the deployer's values for the settings it declares, or `None`.
    """

    record: PluginRecord
    system_type: str
    description: Description
    secrets_model: type[Secrets]
    schema: dict[str, Any]
    settings: DeployerSettings | None
    _hooks: Any = field(repr=False)

    @property
    def identifier(self) -> str:
        """The connector's identifier, e.g. `postgres`."""
        return self.record.identifier

    @cached_property
    def needs_secrets(self) -> bool:
        """Whether its schema has any field at all."""
        return bool(self.schema["properties"])

    @cached_property
    def asks_for_consent(self) -> bool:
        """Whether it can say where a person consents: it implements `connectory_authorization`."""
        return bool(self._hooks.connectory_authorization.get_hookimpls())

    def configured(self, settings: Mapping[str, Any]) -> Connector:
        """The same connector under other values of its settings, given as JSON values. `schema` stays as it is."""
        if self.settings is None or not settings:
            return self
        values = type(self.settings).model_validate(settings)
        return replace(self, settings=values, secrets_model=self._hooks.connectory_secret_schema(settings=values))

    def authorization(self, secrets: Secrets) -> Authorization | None:
        """Where a person consents to a connection with these secrets; `None` where no consent is needed.

        Raises:
            TypeError: the hook returned something else.
            Exception: whatever else the plugin raises.
        """
        found = self._hooks.connectory_authorization(secrets=secrets, settings=self.settings)
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
        answer = self._hooks.connectory_exchange_code(
            secrets=secrets, code=code, code_verifier=code_verifier, context=context
        )
        if answer is not None:
            raise TypeError("connectory_exchange_code() must return None; it raises CheckFailed where it fails")

    def test(self, secrets: Secrets, context: CheckContext) -> None:
        """Run the connector's test, in this process.

        Raises:
            CheckFailed, CheckSkipped: the connector's verdict.
            TypeError: the hook returned something. A verdict is raised, so a returned `False` or coroutine would
                otherwise pass for success.
            Exception: whatever else the plugin or its driver raises.
        """
        if self._hooks.connectory_test_connection(secrets=secrets, context=context) is not None:
            raise TypeError("connectory_test_connection() must return None; it raises CheckFailed where the test fails")

    def listing(self) -> dict[str, Any]:
        """The item that `GET /connection_type` shows."""
        icon = self.description.icon
        return {
            "identifier": self.identifier,
            "type": self.system_type,
            "human_readable": self.description.human_readable,
            "encoded_icon": base64.b64encode(icon.encode()).decode() if icon else None,
            "authorization_required": self.description.authorization_required,
            "user_guide": self.description.user_guide,
            "supported_actions": list(self.description.supported_actions),
            "category": self.description.category,
        }
