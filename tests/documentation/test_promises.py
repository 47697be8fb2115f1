"""The pages that promise something: every promise names tests, and they exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from documentation.pages import ROOT

PROOF = re.compile(r"`([\w/.]+\.py)::([\w:]+)`")
PAGES = {"docs/security.md": 40, "docs/compatibility.md": 8}
"""The pages, and how many promises each has at least."""
each = pytest.mark.parametrize("page", PAGES)


def promises(page: str) -> dict[str, list[tuple[str, str]]]:
    """The proofs of each promise: of each row of the tables whose first column is `promise`."""
    tables = re.findall(r"^\| promise \|.*\n\|[-|]+\n((?:\|.*\n)+)", (ROOT / page).read_text(), flags=re.MULTILINE)
    rows = [line.strip("| ").split(" | ") for table in tables for line in table.splitlines()]
    return {row[0]: PROOF.findall(row[1]) for row in rows}


@each
def test_every_promise_names_a_test_that_exists(page: str) -> None:
    found = promises(page)
    assert len(found) >= PAGES[page]
    assert [promise for promise, proofs in found.items() if not proofs] == []
    named = [proof for proofs in found.values() for proof in proofs]
    assert [proof for proof in named if proof[1] not in names_in(ROOT / proof[0])] == []


@each
def test_no_other_form_of_naming_a_test_escapes_the_check(page: str) -> None:
    text = (ROOT / page).read_text()
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
