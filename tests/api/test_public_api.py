"""The public API is what its golden files say, and they change only together with the changelog."""

import hashlib
import os
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from testkit import public_api
from testkit.cache import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden"
CHANGELOG = REPOSITORY / "CHANGELOG.md"
UPDATE = "CONNECTORY_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/api/test_public_api.py"
SURFACES: dict[str, Callable[[], Iterator[str]]] = {
    "python": public_api.python_names,
    "hooks": public_api.hooks,
    "settings": public_api.settings,
    "commands": public_api.commands,
}


def compare(name: str, found: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("CONNECTORY_UPDATE_GOLDEN") == "1":
        path.write_text(found)
    assert path.read_text() == found, f"The public API changed; if that is meant, run: {UPDATE}"


@pytest.mark.parametrize("name", SURFACES)
def test_it_is_what_the_golden_file_says(name: str) -> None:
    compare(name, "\n".join(SURFACES[name]()).rstrip() + "\n")


def test_the_rest_api_is_what_the_golden_file_says(anonymous: TestClient) -> None:
    compare("rest", "\n".join(public_api.rest(anonymous.get("/openapi.json").json())) + "\n")


def test_a_change_has_an_entry_in_the_changelog() -> None:
    """The mark is changed by hand, where the entry is written."""
    texts = b"".join(path.read_bytes() for path in sorted(GOLDEN.glob("*.txt")))
    mark = f"<!-- public API: {hashlib.sha256(texts).hexdigest()[:16]} -->"
    unreleased = CHANGELOG.read_text().partition("## Unreleased")[2].partition("\n## ")[0]
    assert mark in unreleased, (
        f"The public API changed: say so in CHANGELOG.md under Unreleased, and put {mark} in the place of the mark there."
    )
