"""What a connector declares, and what importing it does."""

from __future__ import annotations

import pytest

from connectory.catalog.loaded import LoadedConnector
from connectory.testing import declaration
from connectory.testing import fresh_import as imports
from connectory.testing.rules.complaints import expect_none
from connectory.testing.rules.facts import Facts
from connectory.testing.rules.rule import rule


class DeclarationRules(Facts):
    """Whether the service finds, loads and describes the connector."""

    @rule(fix="Name the connector in the group connectory.connectors of pyproject.toml, and install the project again.")
    def test_the_entry_point_is_declared(self) -> None:
        """The connector is found by its metadata, before anything is imported."""
        assert declaration.find_entry_point(self.identifier, self.distribution) is not None, self._not_installed()

    @rule(fix="Add connectory>=X,<Y to the dependencies in pyproject.toml.")
    def test_the_distribution_says_which_core_it_needs(self) -> None:
        """A service of another version refuses it with a reason, instead of failing in the middle."""
        expect_none(declaration.requirement_complaints(self.distribution))

    @rule(fix="Do what the reason says; where the module raised something, the report shows the line.")
    def test_the_catalogue_loads_it(self) -> None:
        """The service takes the connector, within its time for loading: hooks, identifier, type and schema are right."""
        assert self._load().identifier == self.identifier

    @rule(fix="Spell the hook as the contract does and decorate it, or give the function another name.")
    def test_no_function_only_looks_like_a_hook(self, connector: LoadedConnector) -> None:
        """Each function named like a hook is one: a misspelt or undecorated hook would never be called."""
        expect_none(declaration.stray_hooks(connector))

    @rule(fix="Give a Description of constants: a name, and an SVG icon of at most 4 KiB without scripts and links.")
    def test_the_description_can_be_shown(self, connector: LoadedConnector) -> None:
        """It has a name, a small and harmless icon, and is there at once: lists of connectors show it."""
        expect_none(declaration.description_complaints(connector))

    @pytest.fixture(scope="class")
    @classmethod
    def fresh_import(cls) -> imports.Observed:
        """What an interpreter of its own saw when it imported the connector."""
        return imports.observe(cls.identifier, cls.distribution)

    @rule(fix="Import the driver inside the test, and of core only what is public.")
    def test_nothing_heavy_is_imported_early(self, connector: LoadedConnector, fresh_import: imports.Observed) -> None:
        """Drawing the list of connectors and their forms imports no driver, and nothing of a running service."""
        expect_none(imports.early_imports(fresh_import, connector.description.drivers))

    @rule(fix="Move what prints, warns or changes the process into the test, or remove it.")
    def test_importing_it_is_quiet(self, fresh_import: imports.Observed) -> None:
        """It writes and warns of nothing, and leaves logging and the rest of the process as they are: all share it."""
        expect_none(imports.noise(fresh_import))

    @rule(fix="Import what is heavy inside the test; wait for nothing and read no files while importing.")
    def test_importing_it_is_quick(self, fresh_import: imports.Observed) -> None:
        """At most a second, in which a person still waits for the list of connectors. Of three tries the best counts."""
        observed = fresh_import
        for _ in range(2):
            if imports.slowness(observed):
                observed = imports.observe(self.identifier, self.distribution)
        expect_none(imports.slowness(observed))
