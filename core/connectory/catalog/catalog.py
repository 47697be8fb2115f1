"""The catalogue: every connector, installed or found by a source, with its record; and those that loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from importlib_metadata import version

from connectory.catalog.discovery import (
    ENTRY_POINT_GROUP,
    SOURCE_GROUP,
    Candidate,
    Selection,
    decide,
    decide_sourced,
    find_installed,
)
from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.loading import Loading, PluginBroken, begin_to_load, load_connector
from connectory.catalog.record import PluginRecord, PluginStatus
from connectory.catalog.sources import find_sourced, sourced_plugin
from connectory.catalog.watch import Watch

# Databases first, then SaaS, then the rest: the order in which consumers know the list.
_TYPE_ORDER = {"database": 0, "saas": 1}


def _listing_order(connector: LoadedConnector) -> tuple[int, str, str]:
    return _TYPE_ORDER.get(connector.system_type, 2), connector.system_type, connector.identifier


class ConnectorUnavailable(LookupError):
    """A stored connection has no connector here; the message says why, with the remedy."""


class Catalog:
    """The connectors of this installation. Built once, at start; never changes afterwards.

    Attributes:
        variables: the environment variables that plugins and sources have asked for, those that then failed too.
    """

    def __init__(
        self,
        records: Iterable[PluginRecord],
        connectors: Iterable[LoadedConnector],
        variables: Iterable[str] = (),
    ) -> None:
        self.records = tuple(sorted(records))
        self.variables = frozenset(variables)
        ordered = sorted(connectors, key=_listing_order)
        self.connectors: Mapping[str, LoadedConnector] = {connector.identifier: connector for connector in ordered}

    @cached_property
    def not_loaded(self) -> tuple[PluginRecord, ...]:
        """The connectors that should be there and are not; those that the deployer's lists exclude are not meant."""
        return tuple(
            record for record in self.records if record.status not in (PluginStatus.LOADED, PluginStatus.BLOCKED)
        )

    def get(self, identifier: str) -> LoadedConnector | None:
        """The connector, or `None` where none of that identifier loaded."""
        return self.connectors.get(identifier)

    def require(self, identifier: str, distribution: str) -> LoadedConnector:
        """The connector of a stored connection of type `identifier`.

        Args:
            distribution: the distribution that shipped the connector when the connection was stored.

        Raises:
            ConnectorUnavailable: none of that identifier loaded.
        """
        connector = self.get(identifier)
        if connector is None:
            raise ConnectorUnavailable(self.unavailable_reason(identifier, distribution))
        return connector

    @cached_property
    def types(self) -> frozenset[str]:
        """The system types a consumer may filter by: `database`, `saas`, `manual`, and those of the connectors."""
        return frozenset(
            {"database", "saas", "manual"} | {connector.system_type for connector in self.connectors.values()}
        )

    def unavailable_reason(self, identifier: str, distribution: str) -> str:
        """Why a stored connection of type `identifier` has no connector, with the remedy.

        Args:
            distribution: the distribution that shipped the connector when the connection was stored.
        """
        for record in self.records:
            if record.identifier == identifier and record.reason:
                shipped = f"{record.distribution} {record.version}"
                return f"The connector '{identifier}' ({shipped}) is {record.status}. {record.reason}"
        shipping = next((record for record in self.records if record.distribution == distribution), None)
        if shipping is not None:
            return (
                f"{distribution} {shipping.version} has no connector '{identifier}' (any more); install a version of it "
                "that has, or give its definition back."
            )
        return f"The connector '{identifier}' is not installed; run: pip install {distribution}"


def build_catalog(
    selection: Selection | None = None,
    environment: Mapping[str, str] | None = None,
    watch: Watch | None = None,
    share: tuple[int, int] = (0, 1),
) -> Catalog:
    """Discover and load every installed connector, and those that installed sources find.

    A connector that loads slowly does not hold up the others: they are loaded beside it.

    Args:
        selection: the deployer's allow and deny lists and pins. Default: everything.
        environment: where plugins' declared settings, and sources, read from. Default: this process's environment.
        share: which part to load, of how many equal ones; sources belong to the first. Default: all.
        watch: told before the code of a connector or source runs, and after. Default: one that only puts the process back.
    """
    selection, core_version = selection or Selection(), version("connectory")
    declared = find_installed(groups=(ENTRY_POINT_GROUP, SOURCE_GROUP))
    installed = [item for item in declared if item.group == ENTRY_POINT_GROUP]
    sources = [item for item in declared if item.group == SOURCE_GROUP]
    asked = _Asked(os.environ if environment is None else environment)
    watch = watch or Watch()
    part, parts = share
    sourced, records = find_sourced([] if part else sources, core_version, asked, watch)
    connectors: list[LoadedConnector] = []
    decided = decide(installed, selection, core_version)[part::parts] + decide_sourced(sourced, selection, installed)
    for connector, record in _load_all(decided, asked, watch):
        records.append(record)
        connectors += [connector] if connector else []
    return Catalog(records, connectors, asked.names)


class _Asked(Mapping[str, str]):
    """An environment that notes which variables are asked for: a source declares none, and reads what it likes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._environment[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)


def find_connector(
    identifier: str,
    distribution: str,
    environment: Mapping[str, str] | None = None,
    *,
    source: str = "",
    target: str = "",
) -> LoadedConnector:
    """Load one connector, and no other.

    Args:
        identifier, distribution, source: of the connector's record.
        target: of the record; only what a source has found needs it.
        environment: where the plugin's declared settings are read from. Default: this process's environment.

    Raises:
        LookupError: `distribution` declares no such connector.
        PluginBroken: it does not load.
    """
    if source:
        found = sourced_plugin(distribution, source, target)
        return load_connector(replace(found.record, identifier=identifier), found.load, environment)
    for item in find_installed(named=distribution):
        if (item.record.identifier, item.record.distribution) == (identifier, distribution):
            return load_connector(item.record, item.load, environment)
    raise LookupError(f"{distribution} declares no connector '{identifier}'")


def _load_all(
    items: Iterable[Candidate], environment: Mapping[str, str], watch: Watch
) -> Iterator[tuple[LoadedConnector | None, PluginRecord]]:
    slow: list[Loading[LoadedConnector]] = []
    for item in sorted(items, key=lambda item: item.record in watch.deferred):
        if item.record.status is not PluginStatus.LOADED:
            yield None, item.record
            continue
        try:
            watch.begin(item.record)
        except PluginBroken as problem:
            yield None, _failed(item.record, problem)
            continue
        loading = begin_to_load(item.record, item.load, environment)
        if watch.waits_for(loading):
            yield _end(loading, watch)
        else:
            watch.note_slow(item.record)
            slow.append(loading)
    if slow:
        watch.wait_for_slow()
    for loading in slow:
        yield _end(loading, watch)


def _end(loading: Loading[LoadedConnector], watch: Watch) -> tuple[LoadedConnector | None, PluginRecord]:
    record = loading.record
    try:
        connector = loading.result()
    except PluginBroken as problem:
        watch.end(record, None)
        return None, _failed(record, problem)
    told = replace(record, remark=watch.end(record, connector))
    return replace(connector, record=told), told


def _failed(record: PluginRecord, problem: PluginBroken) -> PluginRecord:
    return replace(record, status=PluginStatus.FAILED, reason=str(problem))
