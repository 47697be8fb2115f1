"""What the catalogue says to install is what there is."""

import tomllib

import pytest

from connectory.catalog.catalog import build_catalog
from connectory_console.known import KNOWN, to_install
from testkit.cache import REPOSITORY


def test_every_distribution_of_ours_is_known_with_its_connectors() -> None:
    declared = {}
    for file in REPOSITORY.glob("plugins/*/pyproject.toml"):
        project = tomllib.loads(file.read_text())["project"]
        if connectors := project.get("entry-points", {}).get("connectory.connectors"):
            declared[project["name"]] = set(connectors)
    assert {distribution: set(connectors) for distribution, connectors in KNOWN.items()} == declared


def test_connectors_are_called_what_they_call_themselves() -> None:
    installed = build_catalog(environment={}).connectors
    names = {identifier: name for connectors in KNOWN.values() for identifier, name in connectors.items()}
    assert names == {identifier: installed[identifier].description.human_readable for identifier in names}


@pytest.mark.parametrize(
    ("search", "line"),
    [
        *((name, f"pip install {distribution}") for distribution in KNOWN for name in KNOWN[distribution].values()),
        ("sql server", "pip install connectory-mssql"),
        ("  SALES ", "pip install connectory-saas"),
        ("my", "pip install connectory-mysql"),
        ("zzzz", ""),
        ("; rm -rf /", ""),
        ("", ""),
    ],
)
def test_a_search_finds_the_distribution(search: str, line: str) -> None:
    assert to_install(search) == line
