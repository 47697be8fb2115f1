"""The `manual` connector: a person supplies the data, so there is nothing to connect to and nothing to keep secret."""

from __future__ import annotations

from connectory import CheckContext, CheckSkipped, Connector, Description, Secrets


class ManualSecrets(Secrets):
    """No secrets are needed."""


class Manual(Connector[ManualSecrets]):
    """Connections that a person looks after."""

    identifier = "manual"
    type = "manual"
    description = Description(human_readable="Manual Connector", category="MANUAL")

    def test(self, secrets: ManualSecrets, context: CheckContext) -> None:
        """There is nothing to test."""
        del secrets, context
        raise CheckSkipped
