"""What `connectory check-plugin` is to check: an installed distribution, or a project's folder, built as pip would build it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from importlib_metadata import PackageNotFoundError, distribution
from packaging.utils import canonicalize_name

from connectory.authoring.refusal import Refused
from connectory.catalog.discovery import find_installed


@dataclass(frozen=True)
class PluginUnderCheck:
    """A distribution, and its connectors.

    Attributes:
        distribution: its normalised name.
        version: its version.
        identifiers: of its connectors, sorted; at least one.
        path: folders to import it from, before those of this process.
        golden: the golden schema of its one connector, where a folder was given that has one.
    """

    distribution: str
    version: str
    identifiers: tuple[str, ...]
    path: tuple[str, ...] = ()
    golden: str | None = None


def find_plugin(named: str, workplace: Path) -> PluginUnderCheck:
    """The distribution that `named` names, or the one whose project is in the folder `named`.

    Args:
        workplace: an empty folder, for what is built.

    Raises:
        Refused: there is neither, or it has no connector.
    """
    folder = Path(named)
    installed = _installed(named)
    if installed is not None:
        return installed
    if not folder.is_dir():
        raise Refused(
            "There is no installed distribution of that name, and no folder; `connectory plugins` lists what there is."
        )
    name = _project_name(folder)
    found = _installed_from(name, folder) or _built(name, folder, workplace)
    golden = folder.resolve() / "tests" / "secret_schema.json"
    if len(found.identifiers) > 1 or not golden.is_file():
        return found
    return PluginUnderCheck(found.distribution, found.version, found.identifiers, found.path, str(golden))


def _installed(name: str, path: tuple[str, ...] = ()) -> PluginUnderCheck | None:
    """The distribution of that name among those installed, or in the folders `path`; `None` where there is none.

    Raises:
        Refused: it has no connector.
    """
    normalised = canonicalize_name(name)
    records = [found.record for found in find_installed(path or None) if found.record.distribution == normalised]
    if records:
        identifiers = tuple(sorted(record.identifier for record in records))
        return PluginUnderCheck(normalised, records[0].version, identifiers, path)
    if path or _is_installed(name):
        raise Refused(
            f"{normalised} declares no connector: an entry point in the group connectory.connectors of its pyproject.toml."
        )
    return None


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except (PackageNotFoundError, ValueError):
        return False
    return True


def _project_name(folder: Path) -> str:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Refused(f"{folder} has no pyproject.toml that names a project.") from None


def _installed_from(name: str, folder: Path) -> PluginUnderCheck | None:
    """The distribution of that name, where it was installed from `folder` so that changes there take effect."""
    if not _is_installed(name):
        return None
    origin = json.loads(distribution(name).read_text("direct_url.json") or "{}")
    editable = origin.get("dir_info", {}).get("editable") and origin.get("url") == folder.resolve().as_uri()
    return _installed(name) if editable else None


def _built(name: str, folder: Path, workplace: Path) -> PluginUnderCheck:
    site = workplace / "site"
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    built = subprocess.run(  # noqa: S603 — the folder is the author's own
        [*wheel, "--wheel-dir", workplace / "wheels", folder.resolve()], capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        reason = (built.stderr.strip() or built.stdout.strip()).rpartition("\n")[2]
        raise Refused(f"pip cannot build {folder}: {reason}; try: pip install -e {folder}")
    for file in (workplace / "wheels").glob("*.whl"):
        with zipfile.ZipFile(file) as packed:
            packed.extractall(site)
    found = _installed(name, (str(site),))
    assert found is not None
    return found
