"""What a plugin declares, beyond what the loader demands: each function returns complaints.

Whether the hooks are there, take what is offered and answer what they should is for `connectory.catalog.loading` to say.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connectory.catalog.discovery import Candidate, find_installed
from connectory.catalog.drawings import drawing_complaints
from connectory.catalog.loaded import LoadedConnector
from connectory.contract import hookspecs
from connectory.contract.description import Description

HOOKS = (*hookspecs.REQUIRED_HOOKS, *hookspecs.OPTIONAL_HOOKS)

ICON_LIMIT = 4096
"""Bytes that an icon may have: a list of all connectors holds every icon."""
DESCRIBE_LIMIT = 0.1
"""Seconds that `connectory_describe` may take: it is called while the service starts."""


def find_entry_point(identifier: str, distribution: str) -> Candidate | None:
    """The connector's entry point among the installed ones."""
    name = canonicalize_name(distribution)
    return next(
        (
            found
            for found in find_installed()
            if (found.record.identifier, found.record.distribution) == (identifier, name)
        ),
        None,
    )


def stray_hooks(connector: LoadedConnector) -> list[str]:
    """Functions that look like hooks and are not: misspelt, or not decorated. The loader sees only what is decorated."""
    plugin = _implementations(connector, "connectory_identifier")[0].plugin
    complaints = []
    for name in dir(plugin):
        if not name.startswith("connectory_") or not inspect.isroutine(getattr(plugin, name)):
            continue
        if name not in HOOKS:
            complaints.append(f"{name}() is not a hook; the hooks are {', '.join(HOOKS)}.")
        elif not _implementations(connector, name):
            complaints.append(f"{name}() is never called; decorate it with @connectory.hookimpl.")
    return complaints


def _implementations(connector: LoadedConnector, hook: str) -> list[Any]:
    return list(getattr(connector.plugin().hooks, hook).get_hookimpls())


def description_complaints(connector: LoadedConnector) -> list[str]:
    """What keeps a user interface from showing the connector well."""
    describe = connector.plugin().hooks.connectory_describe
    description: Description | None = describe()
    if description is None:
        return ["The connector does not describe itself; without it people see the identifier as a name."]
    complaints = []
    seconds = min(_seconds(describe) for _ in range(3))  # the best of three, on a busy machine
    if seconds > DESCRIBE_LIMIT:
        complaints.append(f"Describing it took {seconds:.2f} s; at most {DESCRIBE_LIMIT:g} s: return constants.")
    if not (description.human_readable or "").strip():
        complaints.append("The description has no human_readable name.")
    return complaints + list(_icon_complaints(description.icon))


def _seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _icon_complaints(icon: str | None) -> Iterator[str]:
    if icon is None:
        return
    if len(icon.encode()) > ICON_LIMIT:
        yield f"The icon has {len(icon.encode())} bytes; at most {ICON_LIMIT}."
    yield from drawing_complaints(icon)


def requirement_complaints(distribution: str) -> list[str]:
    """Whether the distribution says which versions of core it works with. Core itself need not."""
    if canonicalize_name(distribution) == "connectory":
        return []
    wanted = [Requirement(text) for text in Distribution.from_name(distribution).requires or ()]
    if any(canonicalize_name(found.name) == "connectory" and found.specifier for found in wanted):
        return []
    remedy = "add 'connectory>=X,<Y' to its dependencies, so that it is refused with a reason where it would not work."
    return [f"{distribution} does not say which core it needs; {remedy}"]
