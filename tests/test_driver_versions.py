"""No driver is installed, or let in by what a connector requires, in a version that a hostile server is known to get through."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LAST_BAD = {
    "redshift-connector": "2.1.13",  # CVE-2026-8838: code that a server sent was run
    "snowflake-connector-python": "4.7.0",  # the password went where an account's name led
    "requests": "2.32.3",  # CVE-2024-47081: credentials of another host
}


def requirements() -> list[tuple[str, Requirement]]:
    found = []
    for path in ROOT.glob("plugins/*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        found += [(project["name"], Requirement(text)) for text in project["dependencies"]]
    return found


@pytest.mark.parametrize("driver", LAST_BAD)
def test_the_version_that_is_installed_is_none_of_them(driver: str):
    [pinned] = (
        wanted
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if canonicalize_name((wanted := Requirement(line)).name) == driver
    )
    assert not pinned.specifier.contains(LAST_BAD[driver])
    assert all(part.operator == "==" for part in pinned.specifier)
    [version] = (part.version for part in pinned.specifier)
    assert not Requirement(f"{driver}<={LAST_BAD[driver]}").specifier.contains(version, prereleases=True)


def test_no_connector_lets_one_of_them_in():
    bounded = [(name, found) for name, found in requirements() if canonicalize_name(found.name) in LAST_BAD]
    assert bounded
    for name, found in bounded:
        assert not found.specifier.contains(LAST_BAD[canonicalize_name(found.name)]), name
