"""Discovery: which connectors are installed, from metadata alone, and which of them must not be imported."""

import logging

import pytest

from connectory.catalog.discovery import Selection, decide, find_installed
from connectory.catalog.record import PluginStatus
from testkit.distribution import install, plugin_source

SOURCE = plugin_source("ledger")


def decided(folder, core_version="1.4.0", **selection):
    return [item.record for item in decide(find_installed([str(folder)]), Selection(**selection), core_version)]


def test_everything_is_known_from_metadata(site):
    site.add("ledger", version="2.1")
    [item] = find_installed([str(site.folder)])
    assert (item.record.identifier, item.record.distribution) == ("ledger", "connectory-ledger")
    assert item.record.version == "2.1"
    assert item.record.target.startswith("connectory_ledger_")
    assert not site.imported("connectory-ledger")


def test_names_are_normalised_and_sorted(tmp_path):
    install(tmp_path, "Connectory_Zoo.Keeper", entry_points={"zoo": "z", "ape": "a"})
    install(tmp_path, "connectory-bee", entry_points={"bee": "b"})
    found = [(item.record.identifier, item.record.distribution) for item in find_installed([str(tmp_path)])]
    assert found == [("ape", "connectory-zoo-keeper"), ("bee", "connectory-bee"), ("zoo", "connectory-zoo-keeper")]


def test_entry_points_of_other_groups_are_not_ours(tmp_path):
    install(tmp_path, "other", entry_points={"ledger": "x"}, group="connectory.something")
    assert find_installed([str(tmp_path)]) == []


def test_of_a_distribution_installed_twice_the_first_counts(tmp_path):
    install(tmp_path / "new", "connectory-ledger", version="2", entry_points={"ledger": "x"})
    install(tmp_path / "old", "connectory-ledger", version="1", entry_points={"ledger": "x", "gone": "y"})
    found = find_installed([str(tmp_path / "new"), str(tmp_path / "old")])
    assert [(item.record.identifier, item.record.version) for item in found] == [("ledger", "2")]


def test_a_distribution_that_shadows_another_takes_its_connectors_away(tmp_path):
    install(tmp_path / "new", "connectory-ledger", version="2")
    install(tmp_path / "old", "Connectory.Ledger", version="1", entry_points={"ledger": "x"})
    assert find_installed([str(tmp_path / "new"), str(tmp_path / "old")]) == []
    assert len(find_installed([str(tmp_path / "old"), str(tmp_path / "new")])) == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"entry_points.txt": b"[connectory.connectors]\nno equals sign\n"},
        {"entry_points.txt": b"\xff\xfe"},
        {"METADATA": b"Name: \xff\xfe\n"},
        {"METADATA": b""},
    ],
    ids=["entry points without a value", "entry points in no encoding", "metadata in no encoding", "no metadata"],
)
def test_a_damaged_distribution_costs_only_itself(tmp_path, caplog, damage):
    install(tmp_path, "connectory-ledger", entry_points={"ledger": "x"})
    broken = install(tmp_path, "damaged", entry_points={"other": "y"})
    for name, content in damage.items():
        (broken / name).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        found = find_installed([str(tmp_path)])
    assert [item.record.identifier for item in found] == ["ledger"]
    [warning] = caplog.records
    assert "reinstall it" in warning.getMessage()


def test_an_unfinished_uninstallation_costs_only_itself(tmp_path):
    (tmp_path / "~onnectory_gone-1.0.dist-info").mkdir()
    install(tmp_path, "connectory-ledger", entry_points={"ledger": "x"})
    assert len(find_installed([str(tmp_path)])) == 1


def test_a_distribution_without_a_version_is_still_found(tmp_path):
    metadata = install(tmp_path, "connectory-ledger", entry_points={"ledger": "x"})
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: connectory-ledger\n")
    [item] = find_installed([str(tmp_path)])
    assert item.record.version == "of unknown version"


# Blocked


def test_the_deny_list_wins_over_the_allow_list(tmp_path):
    install(tmp_path, "connectory-ledger", entry_points={"ledger": "x"})
    [record] = decided(tmp_path, deny=frozenset({"ledger"}), allow=frozenset({"ledger"}))
    assert record.status is PluginStatus.BLOCKED
    assert record.reason == "CONNECTORY_PLUGINS_DENY names it; remove it there to load it."


def test_an_allow_list_blocks_everything_else(tmp_path):
    install(tmp_path, "connectory-two", entry_points={"one": "x", "two": "y"})
    one, two = decided(tmp_path, allow=frozenset({"two"}))
    assert (one.status, two.status) == (PluginStatus.BLOCKED, PluginStatus.LOADED)
    assert one.reason == "CONNECTORY_PLUGINS_ALLOW does not name it; add it there to load it."


@pytest.mark.parametrize("name", ["Ledger", "1ledger", "led-ger", "led.ger", "_ledger", "l" * 65, "ledgér"])
def test_an_identifier_that_is_no_word_fails_with_the_rule(tmp_path, name):
    install(tmp_path, "connectory-ledger", entry_points={name: "x"})
    [record] = decided(tmp_path)
    assert record.status is PluginStatus.FAILED
    assert "^[a-z][a-z0-9_]*$" in record.reason


# Incompatible


@pytest.mark.parametrize(
    "requirement",
    [
        "connectory>=2",
        "connectory<1",
        "connectory==1.3.*",
        "Connectory[server]>=2,<3",
        "connectory>=2; python_version >= '3.11'",
    ],
)
def test_a_requirement_that_this_core_does_not_meet_is_incompatible(tmp_path, requirement):
    install(tmp_path, "connectory-ledger", entry_points={"ledger": "x"}, requires=["pydantic>=2", requirement])
    [record] = decided(tmp_path)
    assert record.status is PluginStatus.INCOMPATIBLE
    assert "but connectory 1.4.0 is installed" in record.reason
    assert record.reason.endswith("run: pip install --upgrade connectory-ledger connectory")


@pytest.mark.parametrize(
    "requirement",
    [
        "connectory",
        "connectory>=1,<2",
        "connectory[server]~=1.4",
        "connectory>=9; python_version < '3'",
        "connectory>=9; extra == 'dev'",
        "connectory-postgres>=9",
        "other>=9",
        "not a requirement !!",
        "connectory>=9; platform_machine ~= 'abc'",
    ],
)
def test_other_requirements_say_nothing_about_this_core(tmp_path, requirement):
    install(tmp_path, "connectory-ledger", entry_points={"ledger": "x"}, requires=[requirement])
    [record] = decided(tmp_path)
    assert record.status is PluginStatus.LOADED


def test_a_development_version_of_core_meets_its_own_range(tmp_path):
    install(tmp_path, "connectory-ledger", entry_points={"ledger": "x"}, requires=["connectory>=1.0,<2"])
    [record] = decided(tmp_path, core_version="1.5.0.dev3")
    assert record.status is PluginStatus.LOADED


# Conflicts


@pytest.fixture
def rivals(tmp_path):
    install(tmp_path, "connectory-ledger", version="1.0", entry_points={"ledger": "a", "other": "o"})
    install(tmp_path, "evil-ledger", version="6.6", entry_points={"ledger": "b"})
    return tmp_path


def test_two_claims_to_one_identifier_leave_it_to_nobody(rivals):
    ours, evil, other = decided(rivals)
    assert (ours.status, evil.status, other.status) == (
        PluginStatus.CONFLICT,
        PluginStatus.CONFLICT,
        PluginStatus.LOADED,
    )
    assert "connectory-ledger 1.0 and evil-ledger 6.6 all claim 'ledger'" in ours.reason
    assert 'CONNECTORY_PLUGINS_PIN={"ledger": "connectory-ledger"}' in ours.reason
    assert 'CONNECTORY_PLUGINS_PIN={"ledger": "evil-ledger"}' in evil.reason


def test_a_pin_gives_it_to_one(rivals):
    ours, evil, _ = decided(rivals, pins={"ledger": "Connectory_Ledger"})
    assert (ours.status, evil.status) == (PluginStatus.LOADED, PluginStatus.CONFLICT)
    assert evil.reason.startswith("connectory-ledger is pinned for 'ledger'")


def test_a_pin_to_something_else_decides_nothing(rivals):
    ours, evil, _ = decided(rivals, pins={"ledger": "third-ledger"})
    assert ours.status is evil.status is PluginStatus.CONFLICT


def test_a_rival_that_is_not_loaded_anyway_is_no_rival(tmp_path):
    install(tmp_path, "connectory-ledger", entry_points={"ledger": "a"})
    install(tmp_path, "old-ledger", entry_points={"ledger": "b"}, requires=["connectory<1"])
    ours, old = decided(tmp_path)
    assert (ours.status, old.status) == (PluginStatus.LOADED, PluginStatus.INCOMPATIBLE)
