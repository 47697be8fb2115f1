"""Tests of connections whose connector a source has found: its process makes the same plugin, in a scrubbed environment."""

import asyncio
import importlib

import pytest

from connectory.catalog.catalog import build_catalog
from connectory.catalog.discovery import SOURCE_GROUP, Selection
from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from connectory.contract.check import FailureCode
from testkit.distribution import install, plugin_source

SOURCE = """
import os
import types
from pathlib import Path

from connectory.sources import ConnectorSource, ConnectorUnusable, SourcedConnector


class Shelf(ConnectorSource):
    def find(self, environment):
        folder = environment.get("CONNECTORY_SHELF")
        return [SourcedConnector(file.stem, str(file)) for file in Path(folder).glob("*.book")] if folder else []

    def load(self, target):
        try:
            source = Path(target).read_text()
        except OSError:
            raise ConnectorUnusable(f"{Path(target).name} cannot be read.") from None
        plugin = types.ModuleType("book")
        exec(source, plugin.__dict__)
        return plugin


shelf = Shelf()
"""
TEST = """
@hookimpl
def connectory_test_connection(secrets, context):
    import os
    assert "CONNECTORY_SHELF" not in os.environ
    if secrets.token.get_secret_value() == "wrong":
        raise CheckFailed(FailureCode.AUTH_FAILED)
"""


@pytest.fixture(scope="module")
def shelf(site):
    install(
        site,
        "connectory-shelf",
        entry_points={"shelf": "shelf_source:shelf"},
        modules={"shelf_source": SOURCE},
        group=SOURCE_GROUP,
    )
    importlib.invalidate_caches()


def test_a_sourced_connector_is_tested_like_an_installed_one(shelf, tmp_path, monkeypatch):
    folder = tmp_path / ("a folder with a längthy name " * 5)
    folder.mkdir()
    file = folder / "abacus.book"
    file.write_text(plugin_source("abacus", hooks={"connectory_test_connection": TEST}))
    monkeypatch.setenv("CONNECTORY_SHELF", str(folder))
    connector = build_catalog(Selection(allow=frozenset({"abacus"}))).get("abacus")
    with asyncio.Runner() as loop:
        runner = CheckRunner(policy=EgressPolicy())
        loop.run(runner.start())

        def run(token):
            return loop.run(runner.run(object(), connector, lambda: {"token": token}))

        assert run("right").status == "succeeded"
        assert run("wrong").code == FailureCode.AUTH_FAILED
        loop.run(runner.stop())
        file.unlink()
        loop.run(runner.start())
        gone = run("right")
        assert (gone.code, gone.reason) == (FailureCode.CONNECTOR_UNAVAILABLE, "abacus.book cannot be read.")
        loop.run(runner.stop())
