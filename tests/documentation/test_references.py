"""The reference pages say what the code says."""

import os

import pytest

from documentation.pages import ROOT
from documentation.references import PAGES, rendered


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_is_what_the_code_makes_of_it(page: str) -> None:
    path = ROOT / "docs/reference" / f"{page}.md"
    if os.environ.get("CONNECTORY_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(rendered(page))
    assert path.read_text() == rendered(page)


def test_every_page_is_linked_from_the_pages_for_people() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert [page for page in PAGES if f"reference/{page}.md" not in pages] == []
