"""Running it: health, readiness, metrics, missing keys, missing plugins, restarts."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from connectory.api.app import create_app, open_service
from connectory.catalog.catalog import Catalog
from connectory.catalog.record import PluginRecord, PluginStatus
from connectory.store.audit_search import Wanted, list_entries
from connectory.store.timestamps import utc_now
from connectory.vault import generate_keyring
from testkit.descriptors import few_descriptors
from testkit.distribution import install, plugin_source
from testkit.in_process import LocalClient
from testkit.service import run_command, running_service, token_of_root
from testkit.waiting import wait_until


def test_health_and_ready_need_no_token(anonymous, api):
    """And tell strangers nothing else."""
    assert anonymous.get("/health").json() == {"status": "healthy"}
    answer = anonymous.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "failing": []})


def test_the_operator_is_told_more(api, token_for):
    said = api.get("/status").json()
    assert said.pop("confinement") in {"landlock", "uid", "none"}
    assert said.pop("native_connections") in {"limited", "open"}
    assert said == {"status": "ready", "failing": [], "unreadable_rows": 0, "missing_kids": []}
    other = {"Authorization": f"Bearer {token_for('connection_type:read')}"}
    assert api.get("/status", headers=other).status_code == 403


def test_being_ready_costs_the_same_whatever_is_stored(anonymous, api):
    """The database is not asked."""
    statements = []

    def note(*arguments):
        if threading.current_thread().name != "heartbeat":
            statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert [anonymous.get("/ready").status_code for _ in range(5)] == [200] * 5
        assert statements == []
        api.get("/connection")
        assert statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def read_only(store):
    """Have the database refuse to write, by its own means."""

    if store.dialect == "sqlite":
        with store.write() as database:
            driver = database.connection.driver_connection  # the only one that writes
        tell, on, off = driver.execute, "PRAGMA query_only=ON", "PRAGMA query_only=OFF"
    else:
        name = store.writes.url.database
        on = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
        off = f"SET TRANSACTION READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only"

        def tell(statement):
            with store.write() as database:
                database.exec_driver_sql(statement)
            store.writes.dispose()  # it tells new sessions

    tell(on)
    try:
        yield
    finally:
        tell(off)


def test_a_store_that_cannot_be_written_takes_the_node_out_of_service(anonymous, api, service):
    """Readers go on; it comes back by itself."""
    api.create("books")
    heartbeat = service.heartbeat
    with read_only(service.store):
        refused = api.patch("/connection", json=[{"key": "books", "name": "Changed"}])
        wait_until(lambda: not heartbeat.writable)  # well before the next heartbeat's time
        answer = anonymous.get("/ready")
        assert api.get("/connection/books").json()["name"] == "Books"
    assert (answer.status_code, answer.json()) == (503, {"status": "not_ready", "failing": ["database"]})
    assert refused.status_code == 503
    assert re.search(r"SQLITE_READONLY|SQLSTATE 25006", refused.json()["detail"])
    wait_until(lambda: anonymous.get("/ready").status_code == 200)
    assert api.patch("/connection", json=[{"key": "books", "name": "Changed"}]).status_code == 200


def test_a_full_disk_takes_the_node_out_of_service_until_there_is_room(tmp_path):
    """On a file system of its own, that only the service sees."""
    home = tmp_path / "home"
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"', home]
    with running_service(home, launcher=mount) as service:
        disk = Path(f"/proc/{service.process.pid}/root{home}")
        token = token_of_root(disk, service.url)
        item = {"key": "books", "connection_type": "manual", "access": "read", "description": "x" * 2000}
        with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {token}"}) as api:
            assert api.patch("/api/v1/connection", json=[item]).status_code == 200
            space = os.statvfs(disk)
            (disk / "filler").write_bytes(bytes(space.f_bavail * space.f_frsize))
            wait_until(lambda: api.patch("/api/v1/connection", json=[item]).status_code == 503)
            refused = api.patch("/api/v1/connection", json=[item])
            wait_until(lambda: api.get("/ready").status_code == 503)
            assert api.get("/ready").json()["failing"] == ["database"]
            assert api.get("/api/v1/connection/books").status_code == 200
            assert api.get("/health").status_code == 200
            (disk / "filler").unlink()
            wait_until(lambda: api.get("/ready").status_code == 200)
            assert api.patch("/api/v1/connection", json=[item]).status_code == 200
        assert service.end()[0] == 0
    assert "Its disk is full" in refused.json()["detail"]
    assert refused.headers["retry-after"] == "1"


def test_metrics_count_requests_by_template_and_tests_by_type_and_result(api):
    api.create("books", secrets={"token": "wrong"})
    api.get("/connection/books/test")
    answer = api.client.get("/metrics", headers=api.headers)
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    route = 'route="/api/v1/connection/{connection_key}/test",status="200"'
    assert any(line.startswith(f'connectory_requests_total{{method="GET",{route}') for line in lines)
    assert any('connection_type="api_ledger",result="auth_failed"' in line for line in lines)
    assert "connectory_tests_in_flight 0.0" in lines
    assert "books" not in answer.text


def test_own_log_lines_keep_their_arguments_and_others_do_not():
    """A library's arguments may hold anything."""
    code = (
        "import logging\n"
        "from connectory.api.http.logs import configure_logs\n"
        "configure_logs('info')\n"
        "for name in ('connectory.checks.runner', 'connectory_acme', 'urllib3'):\n"
        "    logging.getLogger(name).warning('The connector %s is %d%% done.', 'ledger', 7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["logger"], line["event"]) for line in lines] == [
        ("connectory.checks.runner", "The connector ledger is 7% done."),
        ("connectory_acme", "The connector %s is %d%% done."),
        ("urllib3", "The connector %s is %d%% done."),
    ]


def test_monitoring_does_not_fill_the_log(tmp_path):
    home = tmp_path / "home"
    token = run_command(home, "token").stdout.strip()
    with running_service(home) as service:
        for path in ("/health", "/ready", "/metrics"):
            httpx.get(f"{service.url}{path}", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
        assert httpx.get(f"{service.url}/metrics").status_code == 401
        service.end()
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    requests = [(line["route"], line["status"]) for line in lines if line["event"] == "request"]
    assert requests == [("/metrics", 401)]
    assert [line["event"] for line in lines if line["level"] == "error"] == []


def test_a_line_of_the_survey_keeps_its_arguments(tmp_path):
    """It is logged in another process, about a distribution whose metadata cannot be read."""
    site, home = tmp_path / "site", tmp_path / "home"
    metadata = install(site, "acme-torn", entry_points={"torn": "torn_plugin"}, modules={"torn_plugin": ""})
    (metadata / "METADATA").write_bytes(b"")
    with running_service(home, {"PYTHONPATH": str(site)}) as service:
        service.end()
        assert f"The metadata of a distribution in {site} cannot be read" in service.log.read_text()


@pytest.fixture
def reopened(service, settings, token):
    """Ask a second instance over the same store, with another catalogue or other settings."""

    def ask(*requests, catalog=service.catalog, changed=settings):
        app = create_app(open_service(changed, catalog))

        async def talk():
            transport = httpx.ASGITransport(app)
            headers = {"Authorization": f"Bearer {token}"}
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client,
            ):
                return [await client.request(method, path, json=body) for method, path, body in requests]

        return asyncio.run(talk())

    return ask


@pytest.fixture
def another_key(settings, tmp_path):
    """The settings of a node whose only key is another one."""
    generate_keyring(tmp_path / "other.json")
    document = json.loads((tmp_path / "other.json").read_text())
    document = {"primary": "spare", "keys": {"spare": document["keys"][document["primary"]]}}
    (tmp_path / "other.json").write_text(json.dumps(document))
    return settings.model_copy(update={"keys_file": tmp_path / "other.json"})


def test_a_connection_whose_plugin_is_gone_can_be_read(api, service, reopened):
    """And listed, and deleted."""
    api.create("books", secrets={"token": "tiger-lily"})
    without = Catalog(
        [record for record in service.catalog.records if record.identifier != "api_ledger"],
        [connector for name, connector in service.catalog.connectors.items() if name != "api_ledger"],
    )
    path = "/api/v1/connection/books"
    listed, read, tested, put, changed, patched, types, deleted = reopened(
        ("GET", "/api/v1/connection", None),
        ("GET", path, None),
        ("GET", f"{path}/test", None),
        ("PUT", f"{path}/secret", {"token": "x"}),
        ("PATCH", "/api/v1/connection", [{"key": "books", "name": "Renamed"}]),
        ("PATCH", "/api/v1/connection", [{"key": "books", "secrets": {"token": "x"}}]),
        ("GET", "/api/v1/connection_type", None),
        ("DELETE", path, None),
        catalog=without,
    )
    assert [item["key"] for item in listed.json()["items"]] == ["books"]
    assert read.json()["secrets"] == {"token": "**********"}
    assert tested.status_code == 200
    assert (tested.json()["test_status"], tested.json()["failure_code"]) == ("failed", "connector_unavailable")
    assert "pip install acme-api-ledger" in tested.json()["failure_reason"]
    assert put.status_code == 409
    assert "pip install acme-api-ledger" in put.json()["detail"]
    assert changed.json()["succeeded"][0]["name"] == "Renamed"
    assert patched.status_code == 409
    assert "api_ledger" not in [item["identifier"] for item in types.json()["items"]]
    assert deleted.status_code == 204


def test_a_connection_whose_plugin_is_blocked_says_why(api, service, reopened):
    api.create("books", secrets={"token": "tiger-lily"})
    reason = "CONNECTORY_PLUGINS_DENY names it; remove it there to load it."
    record = PluginRecord("api_ledger", "acme-api-ledger", "1.0", "x", PluginStatus.BLOCKED, reason)
    manual = service.catalog.get("manual")
    [tested] = reopened(("GET", "/api/v1/connection/books/test", None), catalog=Catalog([record], [manual]))
    assert tested.json()["failure_code"] == "connector_unavailable"
    assert reason in tested.json()["failure_reason"]


# What the service lacks is not the connection's fault


@pytest.fixture
def books(api, service):
    """A connection that works. What is kept of its last test, by REST and in the trail, must stay what it is."""

    began = utc_now()

    def kept():
        shown = api.get("/connection/books").json()
        with service.store.read() as database:
            trail, _ = list_entries(database, Wanted(connection_key="books", actions=("tested",), since=began))
        return shown["last_test"], shown["last_test_timestamp"], shown["last_test_succeeded"], len(trail)

    api.create("books", secrets={"token": "tiger-lily"})
    api.get("/connection/books/test").raise_for_status()
    before = kept()
    assert before[2:] == (True, 1)
    yield "/api/v1/connection/books/test"
    assert kept() == before


def test_a_connector_that_one_node_lacks_turns_no_connection_red(books, reopened):
    [tested] = reopened(("GET", books, None), catalog=Catalog([], []))
    assert (tested.status_code, tested.json()["failure_code"]) == (200, "connector_unavailable")


def test_a_key_that_one_node_lacks_turns_no_connection_red(books, reopened, another_key):
    [tested] = reopened(("GET", books, None), changed=another_key)
    assert (tested.status_code, tested.json()["failure_code"]) == (200, "secrets_unreadable")


def test_a_fork_server_that_does_not_start_turns_no_connection_red(books, reopened, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    [tested] = reopened(("GET", books, None))
    assert (tested.status_code, tested.json()["failure_code"]) == (200, "crashed")
    assert tested.json()["failure_reason"].startswith("The process that the service starts tests from ended")


def test_a_service_without_free_descriptors_says_so(books, settings, catalog, token):
    """And is as good as before when there are some."""
    app = create_app(open_service(settings, catalog))
    headers = {"Authorization": f"Bearer {token}"}
    with LocalClient(app, raise_server_exceptions=False, headers=headers) as client:
        client.get("/api/v1/connection/nobody/test")  # what it needs of the store is open now
        with few_descriptors():
            answer = client.get(books)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["detail"] == (
            "The service cannot start a connection test (Too many open files); "
            "raise the limits of its machine, or try again later."
        )
        client.patch("/api/v1/connection", json=[{"key": "films", "connection_type": "api_ledger", "access": "read"}])
        after = client.put("/api/v1/connection/films/secret", json={"token": "tiger-lily"})
        assert after.json()["test_status"] == "succeeded"


def test_a_missing_key_starts_degraded_and_put_repairs(api, service, another_key, reopened):
    api.create("books", secrets={"token": "tiger-lily"})
    api.create("films", secrets={"token": "tiger-lily"})
    kid = service.vault.ring.primary
    path = "/api/v1/connection/books"
    ready, state, metrics, read, tested, merged, listed, put, again = reopened(
        ("GET", "/ready", None),
        ("GET", "/api/v1/status", None),
        ("GET", "/metrics", None),
        ("GET", path, None),
        ("GET", f"{path}/test", None),
        ("PATCH", f"{path}/secret", {"token": "x"}),
        ("GET", "/api/v1/connection", None),
        ("PUT", f"{path}/secret", {"token": "fresh"}),
        ("GET", path, None),
        changed=another_key,
    )
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "failing": []})
    assert state.json().items() >= {"unreadable_rows": 2, "missing_kids": [kid]}.items()
    assert "connectory_unreadable_rows 2.0" in metrics.text.splitlines()
    assert (read.json()["secrets"], read.json()["secrets_state"]) == (None, "unreadable")
    assert (tested.status_code, tested.json()["failure_code"]) == (200, "secrets_unreadable")
    assert merged.status_code == 409
    assert listed.json()["total"] == 2
    assert put.json()["test_status"] == "succeeded"
    assert again.json()["secrets_state"] == "stored"


def test_a_token_survives_a_restart(tmp_path):
    home = tmp_path / "home"
    headers = {}
    for _ in range(2):
        with running_service(home) as service:
            headers = headers or {"Authorization": f"Bearer {token_of_root(home, service.url)}"}
            assert httpx.get(f"{service.url}/api/v1/connection", headers=headers).status_code == 200
            assert service.end()[0] == 0


def test_a_plugin_that_breaks_while_the_service_runs_is_told(tmp_path):
    """And nothing is stored."""
    site, home = tmp_path / "site", tmp_path / "home"
    install(site, "acme-late", entry_points={"late": "late_plugin"}, modules={"late_plugin": plugin_source("late")})
    headers = {"Authorization": f"Bearer {run_command(home, 'token').stdout.strip()}"}
    item = {"name": "Late", "key": "late", "connection_type": "late", "access": "read", "secrets": {"token": "t"}}
    with running_service(home, {"PYTHONPATH": str(site)}) as service:
        connections = f"{service.url}/api/v1/connection"
        (site / "late_plugin.py").write_text("raise RuntimeError")
        refused = httpx.patch(connections, headers=headers, json=[item])
        stored = httpx.get(connections, headers=headers).json()["total"]
        schema = httpx.get(f"{service.url}/api/v1/connection_type/late/secret", headers=headers)
        (site / "late_plugin.py").write_text(plugin_source("late"))
        accepted = httpx.patch(connections, headers=headers, json=[item])
    assert (refused.status_code, stored) == (503, 0)
    assert refused.json()["detail"] == (
        "The connector 'late' has changed since the service started: Loading it raised RuntimeError; report it to the "
        "authors of acme-late 1.0. Then restart the service."
    )
    assert schema.status_code == 200
    assert accepted.json()["succeeded"][0]["key"] == "late"
