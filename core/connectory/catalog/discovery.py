"""Find connectors in the metadata of installed distributions, and rule out what must not be imported."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connectory.catalog.record import PluginRecord, PluginStatus

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "connectory.connectors"
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Selection:
    """The deployer's say over which connectors exist.

    Attributes:
        allow: identifiers to load; empty means every one.
        deny: identifiers not to load; wins over `allow`.
        pins: for an identifier that several distributions claim, the one that gets it.
    """

    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    pins: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Found:
    """An entry point as the metadata has it, before any decision."""

    record: PluginRecord
    entry_point: EntryPoint
    requirements: tuple[str, ...]


def find_installed(path: Collection[str] | None = None) -> list[Found]:
    """Every connector entry point on `sys.path` (or `path`), sorted. Imports nothing.

    Of a distribution that is installed twice, the first on the path counts, as it does for imports.
    """
    places: dict[str, Any] = {} if path is None else {"path": list(path)}
    found: dict[tuple[str, str], Found] = {}
    seen: set[str] = set()
    for distribution in distributions(**places):
        try:
            declared = _declared(distribution)
            name = declared[0].record.distribution if declared else None
            if name is not None and name not in seen and _is_first(distribution, name, places):
                found |= {(item.record.identifier, name): item for item in declared}
                seen.add(name)
        except Exception as error:
            # Any distribution may be damaged, connectors or not, and must not take the others along.
            place, problem = distribution.locate_file(""), type(error).__name__
            _log.warning("The metadata of a distribution in %s cannot be read (%s); reinstall it.", place, problem)
    return [found[key] for key in sorted(found)]


def _declared(distribution: Distribution) -> list[Found]:
    """The connectors that one distribution declares."""
    entry_points = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
    if not entry_points:  # most distributions, and their metadata takes ten times as long to read
        return []
    name, version = canonicalize_name(distribution.metadata["Name"]), distribution.version or "of unknown version"
    requirements = tuple(distribution.requires or ())
    return [
        Found(PluginRecord(entry_point.name, name, version, entry_point.value), entry_point, requirements)
        for entry_point in entry_points
    ]


def _is_first(distribution: Distribution, name: str, places: Mapping[str, Any]) -> bool:
    first = next(iter(distributions(name=name, **places)), distribution)
    return first.locate_file("") == distribution.locate_file("")


def decide(found: Iterable[Found], selection: Selection, core_version: str) -> list[Found]:
    """Give every entry point that must not be imported its status and reason; leave the others `loaded`."""
    found = [_decide_one(item, selection, core_version) for item in found]
    claims = Counter(item.record.identifier for item in found if item.record.status is PluginStatus.LOADED)
    return [_decide_conflict(item, selection, found) if claims[item.record.identifier] > 1 else item for item in found]


def _decide_one(item: Found, selection: Selection, core_version: str) -> Found:
    record = item.record
    if not IDENTIFIER.fullmatch(record.identifier):
        return _with(item, PluginStatus.FAILED, "Its entry point's name must match ^[a-z][a-z0-9_]*$; rename it.")
    if record.identifier in selection.deny:
        return _with(item, PluginStatus.BLOCKED, "CONNECTORY_PLUGINS_DENY names it; remove it there to load it.")
    if selection.allow and record.identifier not in selection.allow:
        return _with(item, PluginStatus.BLOCKED, "CONNECTORY_PLUGINS_ALLOW does not name it; add it there to load it.")
    wanted = _unmet_core_requirement(item.requirements, core_version)
    if wanted is not None:
        reason = (
            f"It needs {wanted}, but connectory {core_version} is installed; "
            f"run: pip install --upgrade {record.distribution} connectory"
        )
        return _with(item, PluginStatus.INCOMPATIBLE, reason)
    return item


def _unmet_core_requirement(requirements: Iterable[str], core_version: str) -> str | None:
    for text in requirements:
        try:
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (ValueError, LookupError):  # neither what it names nor when it applies can be read
            continue
        names_core = canonicalize_name(requirement.name) == "connectory"
        if names_core and applies and not requirement.specifier.contains(core_version, prereleases=True):
            return f"connectory{requirement.specifier}"
    return None


def _decide_conflict(item: Found, selection: Selection, found: Iterable[Found]) -> Found:
    record = item.record
    if record.status is not PluginStatus.LOADED:
        return item
    claimants = [
        f"{other.record.distribution} {other.record.version}"
        for other in found
        if other.record.identifier == record.identifier and other.record.status is PluginStatus.LOADED
    ]
    pinned = canonicalize_name((selection.pins or {}).get(record.identifier, ""))
    if pinned == record.distribution:
        return item
    setting = f'CONNECTORY_PLUGINS_PIN={{"{record.identifier}": "{record.distribution}"}}'
    if pinned in {claim.partition(" ")[0] for claim in claimants}:
        return _with(
            item, PluginStatus.CONFLICT, f"{pinned} is pinned for '{record.identifier}'; to change it set {setting}."
        )
    reason = f"{' and '.join(claimants)} all claim '{record.identifier}'; uninstall all but one, or set {setting}."
    return _with(item, PluginStatus.CONFLICT, reason)


def _with(item: Found, status: PluginStatus, reason: str) -> Found:
    return replace(item, record=replace(item.record, status=status, reason=reason))
