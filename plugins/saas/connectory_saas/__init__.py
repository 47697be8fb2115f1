"""Connectors for web services, each described by one file of `definitions/`.

The entry point `stripe = "connectory_saas:stripe"` is the connector that `definitions/stripe.yaml` describes. Another service
takes a file there, whose name is the connector's identifier, and a line in pyproject.toml.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectory_saas.plugin import SaasConnector

_DEFINITIONS = Path(__file__).with_name("definitions")


def __getattr__(name: str) -> SaasConnector:
    """The connector called `name`.

    Raises:
        AttributeError: there is no definition of that name.
        ConnectorUnusable: there is one, and it is not accepted.
    """
    path = _DEFINITIONS / f"{name}.yaml"
    if not name.isidentifier() or not path.is_file():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from connectory_saas.plugin import plugin_of

    return plugin_of(path)
