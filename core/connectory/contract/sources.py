"""What finds connectors without entry points: in files that the deployer wrote, for instance.

A source is an object named by an entry point of group `connectory.sources`. A complete one, for connectors that are
described by text files in a folder that the deployer names:

>>> from pathlib import Path
>>> from connectory.sources import ConnectorSource, ConnectorUnusable, SourcedConnector
>>>
>>> class BookSource(ConnectorSource):
...     def find(self, environment):
...         folder = environment.get("CONNECTORY_BOOK_DEFINITIONS")
...         files = sorted(Path(folder).absolute().glob("*.book")) if folder else []
...         return [SourcedConnector(file.stem, str(file)) for file in files]
...
...     def load(self, target):
...         if not Path(target).read_text().startswith("book "):
...             raise ConnectorUnusable(f"{target}, line 1: begin it with 'book' and the book's name.")
...         return object()  # the plugin: a module or an object that implements the hooks
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class SourcedConnector(NamedTuple):
    """One connector that a source has found.

    Attributes:
        identifier: its identifier, under the rules of an entry point's name: `^[a-z][a-z0-9_]*$`.
        target: what `ConnectorSource.load` makes the plugin from: a file's absolute path, for instance. At most 1000
            characters. Consumers can read it in the list of plugins, so it holds no secret.
    """

    identifier: str
    target: str


class ConnectorSource(ABC):
    """Finds connectors when the service starts, and makes their plugins.

    A connector that a source finds is like an installed one of the source's distribution, with two differences: it never
    gets an identifier that an entry point of an installed distribution has, and its record names its `target`. The
    deployer's allow and deny lists hold for both.
    """

    @abstractmethod
    def find(self, environment: Mapping[str, str]) -> Iterable[SourcedConnector]:
        """The connectors that exist under the deployer's settings. Should look, and leave reading them to `load`.

        Args:
            environment: the service's environment. Only the service calls this.

        Raises:
            ConnectorUnusable: none can be found, and why; shown as the record of the source itself.
        """

    @abstractmethod
    def load(self, target: str) -> Any:
        """The plugin of one connector: an object that implements the hooks, as an entry point would name it.

        Also called in the processes of connection tests, which have another current folder and none of the service's
        environment: everything must come from `target`.

        Args:
            target: of a `SourcedConnector` that `find` returned.

        Raises:
            ConnectorUnusable: this connector cannot be used, and why; the others are not affected.
        """
