"""Sources: connectors that are no entry points, found in the deployer's files by what an installed distribution brings."""

import doctest

import pytest

from connectory.catalog.catalog import Catalog, build_catalog, find_connector
from connectory.catalog.discovery import SOURCE_GROUP, Selection
from connectory.catalog.loading import PluginBroken
from connectory.catalog.record import PluginStatus
from connectory.contract import sources
from testkit.distribution import install, plugin_source

BOOKS = """
import types
from pathlib import Path

from connectory.sources import ConnectorSource, ConnectorUnusable, SourcedConnector


class Books(ConnectorSource):
    def find(self, environment):
        folder = environment.get("CONNECTORY_BOOKS")
        if folder is None:
            return []
        if not Path(folder).is_dir():
            raise ConnectorUnusable("CONNECTORY_BOOKS names no folder; correct or unset it.")
        return [SourcedConnector(file.stem.partition("-")[0], str(file)) for file in sorted(Path(folder).glob("*.book"))]

    def load(self, target):
        source = Path(target).read_text()
        if source.startswith("broken"):
            raise ConnectorUnusable(f"{Path(target).name}, line 1: 'broken' is no definition.")
        plugin = types.ModuleType("book")
        exec(source, plugin.__dict__)
        return plugin


books = Books()
"""


@pytest.fixture
def books(site, tmp_path_factory):
    """A distribution with a source, and the folder that it looks into."""
    install(
        site.folder,
        "connectory-books",
        version="2.0",
        entry_points={"books": "books_source:books"},
        modules={"books_source": BOOKS},
        group=SOURCE_GROUP,
    )
    return tmp_path_factory.mktemp("definitions")


def catalog_of(folder, **selection) -> Catalog:
    return build_catalog(Selection(**selection), environment={"CONNECTORY_BOOKS": str(folder)})


def record_of(catalog, target):
    [record] = [record for record in catalog.records if record.target == str(target)]
    return record


def write(folder, name, content=None):
    file = folder / f"{name}.book"
    file.write_text(plugin_source(name.partition("-")[0]) if content is None else content)
    return file


def test_what_a_source_finds_is_a_connector_with_its_file_as_target(books):
    file = write(books, "abacus")
    catalog = catalog_of(books)
    connector = catalog.get("abacus")
    assert connector.schema["title"] == "abacus_schema"
    record = record_of(catalog, file)
    assert record == connector.record
    assert (record.identifier, record.distribution, record.version, record.status, record.source) == (
        "abacus",
        "connectory-books",
        "2.0",
        PluginStatus.LOADED,
        "books",
    )


def test_a_source_that_finds_nothing_leaves_no_trace(books):
    with_source = build_catalog(environment={})
    assert [record for record in with_source.records if record.distribution == "connectory-books"] == []


def test_a_broken_definition_costs_only_itself_and_says_why(books):
    broken, sound = write(books, "broken", "broken"), write(books, "sound")
    raising = write(books, "raising", "raise ValueError('S3cretPw')")
    wrong = write(books, "wrong", plugin_source("other"))
    catalog = catalog_of(books)
    assert record_of(catalog, sound).status is PluginStatus.LOADED
    reasons = {
        broken: "broken.book, line 1: 'broken' is no definition.",
        raising: "Loading it raised ValueError; report it to the authors of connectory-books 2.0.",
        wrong: "connectory_identifier() returns 'other', but its source calls it 'wrong'; make them equal.",
    }
    for file, reason in reasons.items():
        record = record_of(catalog, file)
        assert (record.status, record.reason) == (PluginStatus.FAILED, reason)


def test_an_installed_connector_keeps_its_identifier_whatever_its_state(site, books):
    site.add("ledger", source="raise RuntimeError")
    manual, ledger = write(books, "manual"), write(books, "ledger")
    catalog = catalog_of(books)
    assert catalog.get("manual").record.distribution == "connectory"
    assert catalog.get("ledger") is None
    assert record_of(catalog, manual).status is PluginStatus.CONFLICT
    assert record_of(catalog, ledger).status is PluginStatus.CONFLICT
    assert record_of(catalog, ledger).reason == (
        "'ledger' is a connector of connectory-ledger 1.0; give this one another name."
    )


def test_of_two_definitions_of_one_identifier_neither_counts(books):
    first, second = write(books, "abacus-a"), write(books, "abacus-b")
    catalog = catalog_of(books)
    assert catalog.get("abacus") is None
    for file in (first, second):
        record = record_of(catalog, file)
        assert record.status is PluginStatus.CONFLICT
        assert record.reason == f"{first} and {second} all claim 'abacus'; rename all but one."


def test_the_deployers_lists_hold_for_what_sources_find(books):
    abacus = write(books, "abacus", "raise RuntimeError")
    denied = record_of(catalog_of(books, deny=frozenset({"abacus"})), abacus)
    assert (denied.status, denied.reason[:27]) == (PluginStatus.BLOCKED, "CONNECTORY_PLUGINS_DENY nam")
    assert record_of(catalog_of(books, allow=frozenset({"manual"})), abacus).status is PluginStatus.BLOCKED


def test_an_identifier_that_is_no_word_fails_with_the_rule(books):
    file = write(books, "Aba cus")
    assert "^[a-z][a-z0-9_]*$" in record_of(catalog_of(books), file).reason


def test_a_source_that_cannot_look_has_a_record_of_its_own(site, books):
    site.add("sound")
    catalog = catalog_of(books / "missing")
    record = record_of(catalog, "books_source:books")
    assert (record.identifier, record.status) == ("books", PluginStatus.FAILED)
    assert record.reason == "CONNECTORY_BOOKS names no folder; correct or unset it."
    assert catalog.get("sound") is not None


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('S3cretPw')", "Loading it raised RuntimeError"),
        ("books = 7", "must name an instance of connectory.ConnectorSource"),
        (BOOKS.replace("return []", "return None"), "Loading it raised TypeError"),
        (BOOKS.replace("return []", "return [('a', 'b' * 1001)]"), "targets of at most 1000 printable characters"),
        (BOOKS.replace("return []", "return [('a', 7)]"), "find() must return SourcedConnectors"),
    ],
)
def test_a_broken_source_costs_only_itself_and_says_why(site, source, reason):
    install(
        site.folder,
        "connectory-books",
        entry_points={"books": "books_source:books"},
        modules={"books_source": source},
        group=SOURCE_GROUP,
    )
    catalog = build_catalog(environment={})
    assert "manual" in catalog.connectors
    record = record_of(catalog, "books_source:books")
    assert record.status is PluginStatus.FAILED
    assert reason in record.reason
    assert "S3cretPw" not in record.reason


def test_a_source_for_another_core_is_not_imported(site):
    install(
        site.folder,
        "connectory-books",
        entry_points={"books": "books_source:books"},
        modules={"books_source": "raise AssertionError"},
        requires=["connectory>=900"],
        group=SOURCE_GROUP,
    )
    record = record_of(build_catalog(environment={}), "books_source:books")
    assert record.status is PluginStatus.INCOMPATIBLE


def test_one_sourced_connector_is_found_by_its_record_without_the_environment(books):
    write(books, "broken", "broken")
    file = write(books, "abacus")
    record = record_of(catalog_of(books), file)
    found = find_connector(
        record.identifier, record.distribution, environment={}, source=record.source, target=record.target
    )
    assert found.record == record
    with pytest.raises(PluginBroken, match="line 1: 'broken' is no definition"):
        find_connector("broken", "connectory-books", {}, source="books", target=str(books / "broken.book"))
    with pytest.raises(LookupError, match="connectory-books declares no source 'shelves'"):
        find_connector("abacus", "connectory-books", {}, source="shelves", target=record.target)


def test_a_stored_connection_whose_definition_is_gone_is_told_so(books):
    write(books, "abacus")
    reason = catalog_of(books).unavailable_reason("gone", "connectory-books")
    assert reason == (
        "connectory-books 2.0 has no connector 'gone' (any more); install a version of it that has, "
        "or give its definition back."
    )


def test_the_example_of_the_contract_runs_as_it_stands():
    result = doctest.testmod(sources)
    assert result.attempted > 2
    assert result.failed == 0
