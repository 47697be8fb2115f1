"""Our own plugins use what anybody's may: their modules, their tests and the example import only the public packages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import connectory.testing

ROOT = Path(__file__).parents[1]
PUBLIC = {
    "connectory",
    "connectory.consent",
    "connectory.data",
    "connectory.sources",
    "connectory.testing",
    "connectory.toolkit",
}
"""The packages whose names are promised to plugin authors."""

FILES = sorted(
    path
    for folder in ("plugins", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if not {".venv", "build"} & set(path.relative_to(ROOT).parts)
)


def imports(source: str) -> Iterator[str]:
    """Every module of core that `source` imports, also inside functions and inside the programs that it holds as text."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"(?:^|[;\n])\s*(?:from|import)\s+(connectory[\w.]*)", node.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_public_packages_are_imported(path: Path) -> None:
    inner = {name for name in imports(path.read_text()) if name.startswith("connectory.")} - PUBLIC
    assert not inner, f"{path} imports {sorted(inner)}; what an author needs of it must be public."


def test_an_import_from_inside_is_seen_wherever_it_stands() -> None:
    hidden = (
        "def f():\n    from connectory.store import x\nPROGRAM = 'import sys; from connectory.checks.runner import y'\n"
    )
    assert {name for name in imports(hidden) if name.startswith("connectory.")} == {
        "connectory.store",
        "connectory.checks.runner",
    }


def test_the_kit_explains_every_name_it_offers() -> None:
    for name in connectory.testing.__all__:
        assert hasattr(connectory.testing, name)
        assert f"`{name}`" in connectory.testing.__doc__, name
