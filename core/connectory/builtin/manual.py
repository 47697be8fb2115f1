"""The `manual` connector: a person supplies the data, so there is nothing to connect to and nothing to keep secret."""

from __future__ import annotations

from connectory import CheckSkipped, Description, Secrets, hookimpl


class ManualSecrets(Secrets):
    """No secrets are needed."""


@hookimpl
def connectory_identifier() -> str:
    """The identifier."""
    return "manual"


@hookimpl
def connectory_type() -> str:
    """The system type."""
    return "manual"


@hookimpl
def connectory_secret_schema() -> type[Secrets]:
    """The empty schema."""
    return ManualSecrets


@hookimpl
def connectory_test_connection() -> None:
    """Nothing to test."""
    raise CheckSkipped


@hookimpl
def connectory_describe() -> Description:
    """What user interfaces show."""
    return Description(human_readable="Manual Connector", category="MANUAL")
