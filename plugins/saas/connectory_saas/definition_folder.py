"""The deployer's own definitions: every `*.yaml` file of the folder that `CONNECTORY_SAAS_DEFINITIONS` names.

They are data like those that come with this distribution: reading one runs no code of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from connectory.sources import ConnectorSource, ConnectorUnusable, SourcedConnector
from connectory_saas.plugin import SaasConnector, plugin_of

VARIABLE = "CONNECTORY_SAAS_DEFINITIONS"
"""The setting `saas_definitions`. The service looks for connectors before it reads the settings that they declare."""


class DefinitionFolder(ConnectorSource):
    """Finds definitions. The name of each file is its connector's identifier."""

    def find(self, environment: Mapping[str, str]) -> list[SourcedConnector]:
        """One connector for each file."""
        folder = environment.get(VARIABLE)
        if not folder:
            return []
        try:
            files = sorted(path for path in Path(folder).absolute().iterdir() if path.suffix == ".yaml")
        except OSError as error:
            problem = f"{VARIABLE} names no folder that can be read ({type(error).__name__}); correct or unset it."
            raise ConnectorUnusable(problem) from error
        return [SourcedConnector(path.stem, str(path)) for path in files]

    def load(self, target: str) -> SaasConnector:
        """The connector that the definition in the file `target` describes."""
        return plugin_of(Path(target))


source = DefinitionFolder()
