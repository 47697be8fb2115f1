"""A folder on `sys.path` where tests install distributions."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectory.catalog.catalog import Catalog, build_catalog
from connectory.catalog.discovery import Candidate, Selection, find_installed
from connectory.catalog.record import PluginRecord
from testkit.distribution import install, plugin_source


class Site:
    """Installed distributions, and what the catalogue makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, identifier: str, *, distribution: str | None = None, source: str | None = None, **details) -> None:
        """Install a distribution with one connector, in a module of the distribution's own that notes when it is imported."""
        name = distribution or f"connectory-{identifier}"
        # Of a name that no other test uses: a module that hangs while it is imported keeps its import lock.
        module = f"{name.replace('-', '_')}_{uuid4().hex}"
        noting = f"import pathlib\npathlib.Path({str(self.marker(name))!r}).touch()\n"
        body = plugin_source(identifier) if source is None else source
        install(
            self.folder,
            name,
            entry_points={identifier: module},
            modules={module: noting + body},
            **details,
        )

    def marker(self, distribution: str) -> Path:
        return self.folder / f"{distribution}.imported"

    def imported(self, distribution: str) -> bool:
        return self.marker(distribution).exists()

    def catalog(self, **selection) -> Catalog:
        chosen = {name: frozenset(words) if name != "pins" else words for name, words in selection.items()}
        return build_catalog(Selection(**chosen), environment={})

    def record(self, identifier: str, **selection) -> PluginRecord:
        [found] = [record for record in self.catalog(**selection).records if record.identifier == identifier]
        return found


@cache
def plugins_of_the_workspace() -> set[str]:
    return {item.record.distribution for item in find_installed()} - {"connectory"}


def find_installed_here(**options: Any) -> list[Candidate]:
    """What is installed but the workspace's own plugins: to load them takes longer than everything else in most tests."""
    return [item for item in find_installed(**options) if item.record.distribution not in plugins_of_the_workspace()]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    plugins_of_the_workspace()  # before the test installs its own
    monkeypatch.setattr("connectory.catalog.catalog.find_installed", find_installed_here)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def load_limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give plugins less time to load."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr("connectory.catalog.loading.LOAD_LIMIT", seconds)
        monkeypatch.setattr("connectory.catalog.watch.Watch.spare", 0)

    return set_to
