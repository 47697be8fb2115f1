"""Ask the installed sources for connectors that have no entry point of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from connectory.catalog.discovery import SOURCE_GROUP, Candidate, decide_compatibility, find_installed
from connectory.catalog.loading import Loading, PluginBroken
from connectory.catalog.record import PluginRecord, PluginStatus
from connectory.catalog.watch import Watch
from connectory.contract.sources import ConnectorSource

TARGET_LIMIT = 1000
"""Characters of a target. It travels to the processes of connection tests in a message of limited size."""
_IDENTIFIER_LIMIT = 100


def find_sourced(
    sources: Iterable[Candidate],
    core_version: str,
    environment: Mapping[str, str] | None,
    watch: Watch,
) -> tuple[list[Candidate], list[PluginRecord]]:
    """What `sources` find, and the records of those that cannot be asked.

    Args:
        sources: entry points of group `connectory.sources`.
        core_version: of `connectory`; a source whose distribution asks for another is not imported.
        environment: default: this process's environment.
        watch: told before a source is imported, and after; a `PluginBroken` that it raises is taken for the source's own.
    """
    variables = os.environ if environment is None else environment
    found: list[Candidate] = []
    failed: list[PluginRecord] = []
    for item in sources:
        decided = decide_compatibility(item, core_version).record
        if decided.status is not PluginStatus.LOADED:
            failed.append(decided)
            continue
        try:
            watch.begin(item.record)
            try:
                found += _find(item, variables)
            finally:
                watch.end(item.record, None)
        except PluginBroken as problem:
            failed.append(replace(item.record, status=PluginStatus.FAILED, reason=str(problem)))
    return found, failed


def sourced_plugin(distribution: str, source: str, target: str) -> Candidate:
    """One connector's plugin, without asking the source what else there is; its record names no identifier.

    Raises:
        LookupError: `distribution` declares no such source.
    """
    for item in find_installed(groups=(SOURCE_GROUP,), named=distribution):
        if (item.record.identifier, item.record.distribution) == (source, distribution):
            return _sourced(item, "", target)
    raise LookupError(f"{distribution} declares no source '{source}'")


def _find(item: Candidate, environment: Mapping[str, str]) -> list[Candidate]:
    found = Loading(item.record, lambda: list(_load_source(item).find(environment))).result()
    return [_sourced(item, *_checked(connector)) for connector in found]


def _load_source(item: Candidate) -> ConnectorSource:
    source = item.load()
    if not isinstance(source, ConnectorSource):
        raise PluginBroken("Its entry point must name an instance of connectory.ConnectorSource.")
    return source


def _checked(connector: Any) -> tuple[str, str]:
    match connector:
        case (str(identifier), str(target)) if (
            len(identifier) <= _IDENTIFIER_LIMIT and len(target) <= TARGET_LIMIT and target.isprintable()
        ):
            return identifier, target
    raise PluginBroken(
        f"find() must return SourcedConnectors, with targets of at most {TARGET_LIMIT} printable characters."
    )


def _sourced(item: Candidate, identifier: str, target: str) -> Candidate:
    record = replace(item.record, identifier=identifier, target=target, source=item.record.identifier)
    return Candidate(record, lambda: _load_source(item).load(target))
