"""docs/security.md: every promise names tests, and they exist."""

import ast
import re
from functools import cache
from pathlib import Path

from documentation.pages import ROOT

PAGE = ROOT / "docs/security.md"
PROOF = re.compile(r"`([\w/.]+\.py)::([\w:]+)`")


def promises() -> dict[str, list[tuple[str, str]]]:
    """The proofs of each promise of the page."""
    text = PAGE.read_text().partition("\n## Promises\n")[2].partition("\n## Not defended\n")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: PROOF.findall(row[1]) for row in rows if row[0] != "promise"}


def test_every_promise_names_a_test_that_exists() -> None:
    found = promises()
    assert len(found) > 40
    assert [promise for promise, proofs in found.items() if not proofs] == []
    named = [proof for proofs in found.values() for proof in proofs]
    assert [proof for proof in named if proof[1] not in names_in(ROOT / proof[0])] == []


def test_no_other_form_of_naming_a_test_escapes_the_check() -> None:
    text = PAGE.read_text()
    assert len(re.findall("::", PROOF.sub("", text))) == text.count("`path::name`")


@cache
def names_in(path: Path) -> set[str]:
    """The tests of a module, those in classes as `Class::test`; none where there is no such file."""
    if not path.exists():
        return set()
    body = ast.parse(path.read_text()).body
    functions = {item.name for item in body if isinstance(item, ast.FunctionDef)}
    methods = {
        f"{item.name}::{inner.name}"
        for item in body
        if isinstance(item, ast.ClassDef)
        for inner in item.body
        if isinstance(inner, ast.FunctionDef)
    }
    return {name for name in functions | methods if "test_" in name}
