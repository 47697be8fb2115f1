"""For distributions that find connectors in files which a deployer wrote: sources, and what they raise."""

from connectory.contract.hookspecs import ConnectorUnusable
from connectory.contract.sources import ConnectorSource, SourcedConnector

__all__ = ["ConnectorSource", "ConnectorUnusable", "SourcedConnector"]
