"""Connectors that a source finds in the deployer's files, through the service and its command line."""

import json

import httpx

from connectory.catalog.discovery import SOURCE_GROUP
from testkit.distribution import install, plugin_source
from testkit.service import run_command, running_service, token_of_root

SHELF = """
import types
from pathlib import Path

from connectory.sources import ConnectorSource, ConnectorUnusable, SourcedConnector


class Shelf(ConnectorSource):
    def find(self, environment):
        folder = environment.get("CONNECTORY_SHELF")
        return [SourcedConnector(file.stem, str(file)) for file in Path(folder).glob("*.book")] if folder else []

    def load(self, target):
        if "broken" in target:
            raise ConnectorUnusable("broken.book, line 1: there is no definition.")
        plugin = types.ModuleType("book")
        exec(Path(target).read_text(), plugin.__dict__)
        return plugin


shelf = Shelf()
"""
REFUSING = """
@hookimpl
def connectory_test_connection(secrets, context):
    if secrets.token.get_secret_value() != "right":
        raise CheckFailed(FailureCode.AUTH_FAILED)
"""


def test_a_deployers_own_connector_is_one_like_any_other(tmp_path):
    site, folder, home = tmp_path / "site", tmp_path / "definitions", tmp_path / "home"
    install(
        site,
        "acme-shelf",
        entry_points={"shelf": "shelf_source:shelf"},
        modules={"shelf_source": SHELF},
        group=SOURCE_GROUP,
    )
    folder.mkdir()
    (folder / "abacus.book").write_text(plugin_source("abacus", hooks={"connectory_test_connection": REFUSING}))
    (folder / "broken.book").touch()
    (folder / "manual.book").write_text(plugin_source("manual"))
    settings = {
        "PYTHONPATH": str(site),
        "CONNECTORY_SHELF": str(folder),
        "CONNECTORY_PLUGINS_ALLOW": "abacus,broken,manual",
    }
    with running_service(home, settings) as running, httpx.Client(base_url=f"{running.url}/api/v1") as client:
        client.headers["Authorization"] = f"Bearer {token_of_root(home, running.url)}"
        records = {
            record["target"]: record
            for record in client.get("/plugins?size=100").json()["items"]
            if record["distribution"] == "acme-shelf"
        }
        states = {target: (record["identifier"], record["status"]) for target, record in records.items()}
        assert states == {
            str(folder / "abacus.book"): ("abacus", "loaded"),
            str(folder / "broken.book"): ("broken", "failed"),
            str(folder / "manual.book"): ("manual", "conflict"),
        }
        assert records[str(folder / "broken.book")]["reason"] == "broken.book, line 1: there is no definition."
        types = [item["identifier"] for item in client.get("/connection_type").json()["items"]]
        assert types == ["abacus", "manual"]
        item = {"name": "Counting", "connection_type": "abacus", "access": "read", "secrets": {"token": "right"}}
        assert client.patch("/connection", json=[item]).json()["failed"] == []
        assert client.get("/connection/counting/test").json()["test_status"] == "succeeded"
        wrong = client.put("/connection/counting/secret", json={"token": "wrong"}).json()
        assert wrong["failure_code"] == "auth_failed"
    lines = run_command(home, "plugins", settings=settings).stdout.splitlines()
    assert f"abacus  acme-shelf 1.0 ({folder / 'abacus.book'})  loaded" in lines
    shown = json.loads(run_command(home, "plugins", "--json", settings=settings).stdout)
    assert str(folder / "broken.book") in [record["target"] for record in shown]
    without = run_command(home, "plugins", settings={"PYTHONPATH": str(site)}).stdout
    assert "acme-shelf" not in without
