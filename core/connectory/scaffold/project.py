"""Write the project of a new connector: all of its files, or none."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from importlib_metadata import distribution, version

from connectory.catalog.discovery import find_installed
from connectory.documents.json_schema import secret_json_schema

KINDS = {"database": "connectory", "saas": "connectory[http]", "other": "connectory"}
"""The kinds of project, and what each requires: for a server with a login, a web service with a token, anything else."""

NAME_LIMIT = 40
"""Characters of a new connector's identifier: a schema's title, a module and a class are named after it."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TEMPLATES = Path(__file__).with_name("templates")
_SUFFIX = ".template"
_IN_PATHS = "IDENTIFIER"
"""Stands for the identifier in the path of a template."""


class CannotScaffold(Exception):
    """The project cannot be written, and nothing of it was; the message says why, and what to do."""


@dataclass(frozen=True)
class NewPlugin:
    """What is known of a connector that has yet to be written.

    Attributes:
        identifier: its identifier, and the entry point's name.
        kind: one of `KINDS`; also the type that it declares.

    Raises:
        CannotScaffold: the identifier or the kind cannot be used.
    """

    identifier: str
    kind: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.identifier) or len(self.identifier) > NAME_LIMIT:
            raise CannotScaffold(
                f"A connector's name has at most {NAME_LIMIT} characters: lower-case letters, digits, and single underscores "
                "between words; it begins with a letter, like redis, redis_cluster or s3."
            )
        if self.kind not in KINDS:
            raise CannotScaffold(f"A new plugin is of one of these types: {', '.join(KINDS)}.")
        for installed in find_installed():
            if installed.record.identifier == self.identifier:
                raise CannotScaffold(
                    f"'{self.identifier}' is a connector of {installed.record.distribution}, which is installed here; where two "
                    "distributions claim one name, neither gets it. Choose another name."
                )

    @property
    def distribution(self) -> str:
        """The name of its distribution, and of the folder it is written to."""
        return f"connectory-{self.identifier.replace('_', '-')}"

    @property
    def module(self) -> Path:
        """The one module of it, in the project."""
        return Path("src", f"connectory_{self.identifier}", "__init__.py")

    @property
    def class_name(self) -> str:
        """What its classes begin with."""
        return "".join(word.capitalize() for word in self.identifier.split("_"))

    @property
    def human_readable(self) -> str:
        """What people read."""
        return self.identifier.replace("_", " ").title()

    def words(self) -> dict[str, str]:
        """What the templates name."""
        major, minor, *_ = version("connectory").split(".")
        return {
            "identifier": self.identifier,
            "kind": self.kind,
            "distribution": self.distribution,
            "class_name": self.class_name,
            "human_readable": self.human_readable,
            "requirement": f"{KINDS[self.kind]}>={major}.{minor},<{int(major) + 1}",
        }


def write(plugin: NewPlugin, folder: Path) -> None:
    """Write the project of `plugin` to `folder`, which must not exist.

    It is written beside it and then given its name, so that there is a whole project or none.

    Raises:
        CannotScaffold: `folder` exists, or cannot be written.
    """
    if os.path.lexists(folder):
        raise CannotScaffold(f"{folder} exists, and nothing in it was changed; choose another place with --directory.")
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        unfinished.mkdir()
        try:
            _fill(plugin, unfinished)
            unfinished.rename(folder)  # takes the place of an empty folder that was made meanwhile, and of nothing else
        except BaseException:
            shutil.rmtree(unfinished)
            raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CannotScaffold(f"{folder} cannot be written ({reason}); choose another place with --directory.") from None


def _fill(plugin: NewPlugin, folder: Path) -> None:
    templates = {
        Path(str(found.relative_to(room)).removesuffix(_SUFFIX).replace(_IN_PATHS, plugin.identifier)): found
        for room in (_TEMPLATES / "common", _TEMPLATES / plugin.kind)
        for found in sorted(room.rglob(f"*{_SUFFIX}"))
    }
    words = plugin.words()
    _put(folder / plugin.module, _rendered(templates.pop(plugin.module), words))
    schema = _schema(plugin, folder)
    words |= {"fields": "\n".join(_fields(schema))}
    for path, template in templates.items():
        _put(folder / path, _rendered(template, words))
    # As the conformance kit writes it, which compares it.
    _put(folder / "tests" / "secret_schema.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    _put(folder / "LICENSE", distribution("connectory").read_text("licenses/LICENSE") or "")


def _put(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


def _rendered(template: Path, words: dict[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(words)


def _schema(plugin: NewPlugin, folder: Path) -> dict[str, Any]:
    """The JSON Schema of what the new module declares."""
    declared = runpy.run_path(str(folder / plugin.module))[f"{plugin.class_name}Secrets"]
    return secret_json_schema(declared, plugin.identifier, plugin.human_readable)


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    """The rows of a table of the fields: name, description, and what happens when it is left out."""
    for name, found in schema["properties"].items():
        otherwise = "required" if name in schema["required"] else f"`{found['default']}`" if "default" in found else ""
        yield f"| `{name}` | {found['description']} | {otherwise} |"
