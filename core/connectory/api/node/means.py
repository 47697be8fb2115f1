"""What work on connections needs of a service: a command of the command line has this much, and no more."""

from __future__ import annotations

from typing import Protocol

from connectory.api.node.store_threads import StoreThreads
from connectory.catalog.catalog import Catalog
from connectory.checks.runner import CheckRunner
from connectory.settings import Settings
from connectory.store.engine import Store
from connectory.vault import Vault


class Holdings(Protocol):
    """What is there: connections and what belongs to them, the keys of their secrets, and connectors."""

    @property
    def store(self) -> Store: ...
    @property
    def vault(self) -> Vault: ...
    @property
    def catalog(self) -> Catalog: ...


class Means(Holdings, Protocol):
    """What is there, and what opens sessions."""

    @property
    def settings(self) -> Settings: ...
    @property
    def runner(self) -> CheckRunner: ...
    @property
    def threads(self) -> StoreThreads: ...
