"""Find connectors in the metadata of installed distributions, and rule out what must not be imported."""

from __future__ import annotations

import difflib
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from importlib_metadata import distributions

from connectory.catalog.record import PluginRecord, PluginStatus

if TYPE_CHECKING:
    from importlib_metadata import IDistribution

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "connectory.connectors"
SOURCE_GROUP = "connectory.sources"
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Selection:
    """Which connectors the deployer wants.

    Attributes:
        allow: identifiers to load; empty means every one.
        deny: identifiers not to load; wins over `allow`.
        pins: for an identifier that several distributions claim, the one that gets it.
    """

    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    pins: Mapping[str, str] | None = None

    def unmatched(self, records: Iterable[PluginRecord]) -> list[UnmatchedName]:
        """The names in the allow and the deny list that no connector of `records` has."""
        known = sorted({record.identifier for record in records})
        lists = {"CONNECTORY_PLUGINS_ALLOW": self.allow, "CONNECTORY_PLUGINS_DENY": self.deny}
        return [
            UnmatchedName(setting, name, next(iter(difflib.get_close_matches(name, known, n=1)), None))
            for setting, names in lists.items()
            for name in sorted(names - set(known))
        ]


class UnmatchedName(NamedTuple):
    """A name in a list of the deployer's that no connector has.

    Attributes:
        nearest: the identifier of an installed connector that it may be a slip for.
    """

    setting: str
    name: str
    nearest: str | None

    def __str__(self) -> str:
        # What cannot be an identifier may be anything, a password that went astray too.
        named = f"'{self.name}'" if IDENTIFIER.fullmatch(self.name) else "something"
        remedy = f"did you mean '{self.nearest}'?" if self.nearest else "`connectory plugins` lists what there is."
        return f"{self.setting} names {named}, which is not an installed connector; {remedy}"


@dataclass(frozen=True)
class Candidate:
    """A connector, or a source of connectors, that may be loaded: its record, and how to load it.

    Attributes:
        record: what is known of it; `loaded` until something rules it out.
        load: imports what its entry point names, or has its source make it.
        requirements: of its distribution.
        group: of the entry point.
    """

    record: PluginRecord
    load: Callable[[], Any]
    requirements: tuple[str, ...] = ()
    group: str = ENTRY_POINT_GROUP


def find_installed(
    path: Collection[str] | None = None,
    groups: Collection[str] = (ENTRY_POINT_GROUP,),
    *,
    named: str | None = None,
) -> list[Candidate]:
    """Every entry point of `groups` on `sys.path` (or `path`), sorted. Imports nothing.

    Where a distribution is installed twice, the first on the path counts, as it does for imports.

    Args:
        named: the distribution to look for, by its normalised name. Default: all, each of which has to be opened.
    """
    places: dict[str, Any] = {} if path is None else {"path": list(path)}
    found: dict[tuple[str, str, str], Candidate] = {}
    seen: set[str] = set()
    for distribution in distributions(**places, **({} if named is None else {"name": named})):
        try:
            declared = _declared(distribution, groups)
            name = declared[0].record.distribution if declared else None
            if name is not None and name not in seen and _is_first(distribution, name, places):
                found |= {(item.group, item.record.identifier, name): item for item in declared}
                seen.add(name)
        except Exception as error:
            # Any distribution may be damaged, connectors or not, and must not take the others along.
            place, problem = distribution.locate_file(""), type(error).__name__
            _log.warning("The metadata of a distribution in %s cannot be read (%s); reinstall it.", place, problem)
    return [found[key] for key in sorted(found)]


def _declared(distribution: IDistribution, groups: Collection[str]) -> list[Candidate]:
    """The entry points of `groups` that one distribution declares."""
    entry_points = [entry_point for entry_point in distribution.entry_points if entry_point.group in groups]
    if not entry_points:  # most distributions, and their metadata takes ten times as long to read
        return []
    # Here and below, because the service finds what is installed in another process, and needs packaging for nothing else.
    from packaging.utils import canonicalize_name

    metadata = distribution.metadata  # read and parsed anew on every access
    name, version = canonicalize_name(metadata["Name"]), metadata.get("Version") or "of unknown version"
    # `requires` reads and parses it once more, and is needed for an old form only.
    requirements = tuple(metadata.get_all("Requires-Dist") or distribution.requires or ())
    return [
        Candidate(
            PluginRecord(entry_point.name, name, version, entry_point.value),
            entry_point.load,
            requirements,
            entry_point.group,
        )
        for entry_point in entry_points
    ]


def _is_first(distribution: IDistribution, name: str, places: Mapping[str, Any]) -> bool:
    first = next(iter(distributions(name=name, **places)), distribution)
    return first.locate_file("") == distribution.locate_file("")


def decide(found: Iterable[Candidate], selection: Selection, core_version: str) -> list[Candidate]:
    """Give every entry point that must not be imported its status and reason; leave the others `loaded`."""
    found = [_decide_one(item, selection, core_version) for item in found]
    claims = Counter(item.record.identifier for item in found if item.record.status is PluginStatus.LOADED)
    return [_decide_conflict(item, selection, found) if claims[item.record.identifier] > 1 else item for item in found]


def _decide_one(item: Candidate, selection: Selection, core_version: str) -> Candidate:
    decided = _decide_selection(item, selection)
    return decide_compatibility(item, core_version) if decided.record.status is PluginStatus.LOADED else decided


def _decide_selection(item: Candidate, selection: Selection) -> Candidate:
    record = item.record
    if not IDENTIFIER.fullmatch(record.identifier):
        return _with(item, PluginStatus.FAILED, "Its identifier must match ^[a-z][a-z0-9_]*$; rename it.")
    if record.identifier in selection.deny:
        return _with(item, PluginStatus.BLOCKED, "CONNECTORY_PLUGINS_DENY names it; remove it there to load it.")
    if selection.allow and record.identifier not in selection.allow:
        return _with(item, PluginStatus.BLOCKED, "CONNECTORY_PLUGINS_ALLOW does not name it; add it there to load it.")
    return item


def decide_compatibility(item: Candidate, core_version: str) -> Candidate:
    """Give an entry point whose distribution asks for another version of core its status and reason."""
    wanted = _unmet_core_requirement(item.requirements, core_version)
    if wanted is None:
        return item
    reason = (
        f"It needs {wanted}, but connectory {core_version} is installed; "
        f"run: pip install --upgrade {item.record.distribution} connectory"
    )
    return _with(item, PluginStatus.INCOMPATIBLE, reason)


@cache  # a distribution may hold many connectors
def _unmet_core_requirement(requirements: tuple[str, ...], core_version: str) -> str | None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

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


def _decide_conflict(item: Candidate, selection: Selection, found: Iterable[Candidate]) -> Candidate:
    record = item.record
    if record.status is not PluginStatus.LOADED:
        return item
    claimants = [
        f"{other.record.distribution} {other.record.version}"
        for other in found
        if other.record.identifier == record.identifier and other.record.status is PluginStatus.LOADED
    ]
    from packaging.utils import canonicalize_name

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


def decide_sourced(
    sourced: Iterable[Candidate], selection: Selection, installed: Iterable[Candidate]
) -> list[Candidate]:
    """The same as `decide` for what sources have found. An installed connector keeps its identifier, whatever its status.

    No pin chooses here: where two claim an identifier, both lose it.
    """
    sourced = list(sourced)
    owners = {item.record.identifier: item.record for item in installed}
    targets: dict[str, list[str]] = {}
    for item in sourced:
        targets.setdefault(item.record.identifier, []).append(item.record.target)
    return [_decide_sourced(item, selection, owners, targets[item.record.identifier]) for item in sourced]


def _decide_sourced(
    item: Candidate, selection: Selection, owners: Mapping[str, PluginRecord], targets: Collection[str]
) -> Candidate:
    identifier = item.record.identifier
    decided = _decide_selection(item, selection)
    if decided.record.status is not PluginStatus.LOADED:
        return decided
    if identifier in owners:
        owner = owners[identifier]
        reason = f"'{identifier}' is a connector of {owner.distribution} {owner.version}; give this one another name."
        return _with(item, PluginStatus.CONFLICT, reason)
    if len(targets) > 1:
        reason = f"{' and '.join(targets)} all claim '{identifier}'; rename all but one."
        return _with(item, PluginStatus.CONFLICT, reason)
    return item


def _with(item: Candidate, status: PluginStatus, reason: str) -> Candidate:
    return replace(item, record=replace(item.record, status=status, reason=reason))
