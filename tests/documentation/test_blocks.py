"""Every block of Python on the page for plugin authors runs, in order; every entry point that it shows leads somewhere."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

import connectory
import connectory.testing
from connectory import Connector, DeployerSettings, Secrets
from connectory.consent import ConsentingConnector
from connectory.data import DataSession
from connectory.testing import ConnectorConformance
from documentation.pages import ROOT, blocks

PAGE = ROOT / "docs/plugin-authors.md"
# What excerpts take for granted, because the complete modules around them import it.
GIVEN = (
    {name: getattr(connectory, name) for name in connectory.__all__}
    | {name: getattr(connectory.testing, name) for name in connectory.testing.__all__}
    | {"Annotated": Annotated, "Field": Field, "Path": Path, "pytest": pytest}
)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What all blocks of Python define, each run with what those before it defined; of two definitions the first."""
    defined: dict[str, Any] = GIVEN | {"__file__": str(PAGE), "__name__": "page"}
    first: dict[str, Any] = {}
    for number, text in enumerate(text for language, text in blocks(PAGE) if language == "python"):
        exec(compile(text, f"{PAGE.name}, block {number}", "exec"), defined)
        first = defined | first
    return first


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Redis", Connector),
        ("LedgerSecrets", Secrets),
        ("LedgerSession", DataSession),
        ("LedgerSettings", DeployerSettings),
        ("LedgerCloud", ConsentingConnector),
        ("TestLedgerConformance", ConnectorConformance),
    ],
)
def test_a_block_defines_what_its_text_says(names: dict[str, Any], name: str, kind: type) -> None:
    assert issubclass(names[name], kind)


def test_the_excerpt_of_secrets_refuses_what_it_says(names: dict[str, Any]) -> None:
    given = {"host": "ledger.example", "username": "reader", "token": "t"}
    assert names["LedgerSecrets"](**given).port == 7000
    with pytest.raises(ValueError, match="username"):
        names["LedgerSecrets"](**given | {"username": "a:b"})


def test_the_excerpt_of_a_consent_asks_for_it(names: dict[str, Any]) -> None:
    secrets = names["LedgerCloudSecrets"](client_id="c", redirect_uri="https://app.example/back")
    asked = names["LedgerCloud"].authorization(None, secrets, None)
    assert (asked.client_id, asked.scopes, asked.pkce) == ("c", ("books.read",), True)


def test_entry_points_name_what_the_page_defines(names: dict[str, Any]) -> None:
    documents = [tomllib.loads(text) for language, text in blocks(PAGE) if language == "toml"]
    declared = [document["project"]["entry-points"] for document in documents]
    assert [sorted(groups) for groups in declared] == [["connectory.connectors"], ["connectory.sources"]]
    target = declared[0]["connectory.connectors"]["redis"]
    assert names[target.rpartition(":")[2]].identifier == "redis"


def test_pages_show_no_language_that_no_test_runs() -> None:
    """`text` is for what is not run: output, and commands whose parts the reader fills in."""
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    shown = {(page.name, language) for page in pages for language, _ in blocks(page)} - {
        (page.name, "text") for page in pages
    }
    assert shown == {
        ("README.md", "sh"),  # test_readme.py; `make demo` and `make test` are this run
        ("deployers.md", "sh"),  # tests/test_wheels.py
        ("deployers.md", "yaml"),
        ("plugin-authors.md", "python"),  # here and in test_plugin_authors.py
        ("plugin-authors.md", "sh"),  # tests/test_new_plugin.py
        ("plugin-authors.md", "toml"),  # here
        ("rest.md", "json"),  # test_readme.py
        ("rest.md", "sh"),
    }
