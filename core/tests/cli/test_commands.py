"""The command line, run in a process of its own: a few as what an installer puts there, the others as forks that run the same.

What a process of its own would not show runs in this one.
"""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from connectory.scopes import SCOPES
from connectory.settings import Settings
from testkit.distribution import install
from testkit.service import (
    COMMAND,
    RunningService,
    environment_of,
    run_command,
    run_program,
    running_service,
    token_of_root,
)


def as_root(home: Path, service: RunningService) -> dict[str, str]:
    """The header of a request that the root client makes."""
    return {"Authorization": f"Bearer {token_of_root(home, service.url)}"}


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that refused."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "Traceback" not in line
    return line


def test_serve_prints_one_line_and_makes_private_files(home):
    with running_service(home, command=COMMAND) as service:
        assert httpx.get(f"{service.url}/health").json() == {"status": "healthy"}
        assert str(home / "root_client.json") in service.ready_line
        assert "tests may connect to loopback" in service.ready_line
        credentials = json.loads((home / "root_client.json").read_text())
        token = httpx.post(f"{service.url}/api/v1/oauth/token", data={"grant_type": "client_credentials"} | credentials)
        assert token.status_code == 200
        code, seconds = service.end()
        assert (code, service.process.stdout.read()) == (0, "")
        assert seconds < 10
    assert stat.S_IMODE(home.stat().st_mode) & 0o077 == 0 or home.stat().st_uid == os.getuid()
    for path in home.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_token_prints_a_working_token_and_nothing_else(home):
    """It needs no running service."""
    done = run_program(home, "token", "--scope", "connection:read")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[A-Za-z0-9_-]{40,}\n", done.stdout)
    headers = {"Authorization": f"Bearer {done.stdout.strip()}"}
    with running_service(home) as service:
        assert httpx.get(f"{service.url}/api/v1/connection", headers=headers).status_code == 200
        assert httpx.get(f"{service.url}/api/v1/connection_type", headers=headers).status_code == 403


def test_a_scope_that_does_not_exist_is_refused_by_name(command):
    code, printed, line = command("token", "--scope", "everything")
    assert (code, printed) == (1, "")
    assert "connection:read" in line


def test_clients_are_created_listed_and_deleted(home, command):
    created = json.loads(command("client", "create", "reporting", "--scope", "connection:read")[1])
    assert set(created) == {"client_id", "client_secret", "scope"}
    listed = json.loads(command("client", "list", "--json")[1])
    assert {"client_id": created["client_id"], "name": "reporting", "scope": "connection:read"} in listed
    assert created["client_secret"] not in command("client", "list")[1]
    token = command("token", "--client", created["client_id"])[1].strip()
    with running_service(home) as service:
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{service.url}/api/v1/connection", headers=headers).status_code == 200
        assert run_command(home, "client", "delete", created["client_id"]).returncode == 0
        deadline = time.monotonic() + 30  # a running service looks a token up again after 5 s
        while httpx.get(f"{service.url}/api/v1/connection", headers=headers).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    code, _, line = command("client", "delete", created["client_id"])
    assert (code, "no such client" in line) == (1, True)


def test_plugins_are_listed_as_text_and_as_json(home):
    listed = json.loads(run_command(home, "plugins", "--json").stdout)
    manual = next(item for item in listed if item["identifier"] == "manual")
    assert (manual["distribution"], manual["status"], manual["reason"]) == ("connectory", "loaded", None)
    denied = run_command(home, "plugins", settings={"CONNECTORY_PLUGINS_DENY": "manual"}).stdout
    assert re.search(r"^manual  connectory \S+  blocked  CONNECTORY_PLUGINS_DENY names it", denied, re.MULTILINE)


def test_plugins_that_should_be_there_and_are_not_are_told(home, tmp_path):
    """By exit code 1 of `plugins --check`, by a line each in the service's log, and in its metrics."""
    install(
        tmp_path / "site", "acme-broken", entry_points={"broken": "broken_plugin"}, modules={"broken_plugin": "1 / 0"}
    )
    assert run_command(home, "plugins", "--check", settings={"CONNECTORY_PLUGINS_DENY": "mssql"}).returncode == 0
    broken = {"PYTHONPATH": str(tmp_path / "site")}
    few = broken | {"CONNECTORY_PLUGINS_ALLOW": "manual,broken"}
    assert run_command(home, "plugins", settings=few).returncode == 0
    assert run_command(home, "plugins", "--check", settings=few).returncode == 1
    settings = broken | {"CONNECTORY_PLUGINS_ALLOW": "posgres,manual,broken", "CONNECTORY_PLUGINS_DENY": "S3cret Pw"}
    unmatched = [
        "CONNECTORY_PLUGINS_ALLOW names 'posgres', which is not an installed connector; did you mean 'postgres'?",
        "CONNECTORY_PLUGINS_DENY names something, which is not an installed connector; `connectory plugins` lists what there is.",
    ]
    for options in (["--check"], ["--check", "--json"]):
        done = run_command(home, "plugins", *options, settings=settings)
        assert (done.returncode, done.stderr.splitlines()) == (1, unmatched)
    with running_service(home, settings) as service:
        answer = httpx.get(f"{service.url}/metrics", headers=as_root(home, service))
        service.end()
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    warnings = [line for line in lines if line["level"] == "warning"]
    assert [line["event"] for line in warnings] == [*unmatched, "plugin not loaded"]
    assert (warnings[-1]["plugin"], warnings[-1]["status"]) == ("broken", "failed")
    assert "ZeroDivisionError" in warnings[-1]["reason"]
    metrics = answer.text.splitlines()
    assert 'connectory_plugins{status="failed"} 1.0' in metrics
    assert 'connectory_plugins{status="loaded"} 1.0' in metrics
    assert 'connectory_plugins{status="conflict"} 0.0' in metrics
    assert "connectory_plugin_names_unmatched 2.0" in metrics


@pytest.mark.parametrize("settings", [{}, {"CONNECTORY_DATABSE_URL": "postgresql://u:S3cretPw@h/d"}])
def test_no_new_store_is_made_where_others_reach_the_service(home, settings):
    """Unless that is asked for: see below."""
    for command in ("serve", "token"):
        done = run_command(home, command, settings=settings | {"CONNECTORY_HOST": "0.0.0.0", "CONNECTORY_PORT": "0"})
        assert (done.returncode, done.stdout) == (1, "")
        assert "CONNECTORY_ALLOW_EMBEDDED=true" in done.stderr.splitlines()[-1]
        assert "S3cretPw" not in done.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"CONNECTORY_HOST": "0.0.0.0", "CONNECTORY_ALLOW_EMBEDDED": "true", "CONNECTORY_DATABSE_URL": "S3cretPw"},
        {"CONNECTORY_EGRESS_ALLOW": "10.0.0.0/8"},
    ],
    ids=["reached by others", "with an allow list"],
)
def test_the_ready_line_names_the_store_and_no_loopback_where_tests_may_not_connect_to_it(home, settings):
    with running_service(home, settings) as service:
        assert f"store: sqlite:///{home}/connectory.db" in service.ready_line
        assert "loopback" not in service.ready_line


def test_settings_are_all_listed(home, command):
    shown = run_command(home, "settings").stdout
    for name in Settings.model_fields:
        assert f"CONNECTORY_{name.upper()}=" in shown
    rows = json.loads(command("settings", "--json")[1])
    assert {"name": "CONNECTORY_HOME", "value": str(home)}.items() <= rows[0].items()


def test_a_shared_database_needs_upgrade_then_a_key_then_serves(home, tmp_path, postgres, command):
    postgres.create_database("commands")
    password = postgres.password
    url = f"postgresql://{postgres.superuser}:{password}@{postgres.host}:{postgres.port}/commands"
    settings = {"CONNECTORY_DATABASE_URL": url}
    assert "connectory db upgrade" in refusal(run_command(home, "serve", settings=settings))
    assert run_command(home, "db", "upgrade", settings=settings).returncode == 0
    line = refusal(run_command(home, "serve", settings=settings))
    assert "CONNECTORY_KEYS_FILE" in line
    assert "connectory keys generate" in line
    keys = tmp_path / "keys.json"
    assert command("keys", "generate", str(keys))[0] == 0
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    settings |= {"CONNECTORY_KEYS_FILE": str(keys)}
    # Clients are given, never made up: there is no root client.
    code, printed, line = command("token", settings=settings)
    assert (code, printed, "--client" in line) == (1, "", True)
    client = json.loads(run_command(home, "client", "create", "ops", settings=settings).stdout)
    assert set(client["scope"].split()) == set(SCOPES)
    token = command("token", "--client", client["client_id"], settings=settings)[1].strip()
    with running_service(home, settings) as service:
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{service.url}/api/v1/connection", headers=headers).status_code == 200
        shown = f"store: postgresql://{postgres.superuser}:***@{postgres.host}:{postgres.port}/commands)"
        assert service.ready_line.strip().endswith(shown)
    assert not (home / "root_client.json").exists()
    assert not (home / "keys.json").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"CONNECTORY_PORT": "S3cretPw"}, "CONNECTORY_PORT"),
        ({"CONNECTORY_DATABASE_URL": "mysql://u:S3cretPw@h/d"}, "CONNECTORY_DATABASE_URL"),
        ({"CONNECTORY_DATABASE_URL": "postgresql://u:S3cretPw@127.0.0.1:1/d"}, "CONNECTORY_DATABASE_URL"),
        ({"CONNECTORY_HOME": "/proc/nowhere"}, "CONNECTORY_HOME"),
        ({"CONNECTORY_KEYS_FILE": "/nonexistent/keys.json"}, "CONNECTORY_KEYS_FILE"),
    ],
)
def test_a_setting_that_does_not_work_is_one_line_that_names_it(home, settings, named):
    line = refusal(run_command(home, "serve", settings={"CONNECTORY_PORT": "0"} | settings))
    assert named in line
    assert "S3cretPw" not in line


def test_every_setting_that_does_not_work_has_a_line(home):
    wrong = {"CONNECTORY_PORT": "S3cretPw", "CONNECTORY_DATABASE_URL": "", "CONNECTORY_LOG_LEVEL": "S3cretPw"}
    done = run_command(home, "serve", settings=wrong)
    assert (done.returncode, done.stdout) == (1, "")
    assert {line.partition(" ")[0] for line in done.stderr.splitlines()} == set(wrong)
    assert "S3cretPw" not in done.stderr
    assert not home.exists()


def test_a_name_that_is_no_setting_is_told(home, command):
    """By the commands on standard error, by the service in its log; what a plugin or a source reads is known."""
    settings = {
        "CONNECTORY_SAAS_ALLOW_HTTP_LOOPBACK": "true",
        "CONNECTORY_SNOWFLAKE_ENDPOINT": "",
        "CONNECTORY_SAAS_DEFINITIONS": "",
        "CONNECTORY_PRT": "S3cretPw",
    }
    told = (
        "CONNECTORY_PRT is not a setting of the service or of a loaded plugin, and does nothing; "
        "did you mean CONNECTORY_PORT?"
    )
    done = run_command(home, "plugins", settings=settings)
    assert (done.returncode, done.stderr) == (0, f"{told}\n")
    for words in (["token"], ["keys", "generate", str(home.with_name("keys.json"))]):
        code, _, errors = command(*words, settings=settings)
        assert (code, errors) == (0, f"{told}\n"), words
    with running_service(home, settings) as service:
        service.end()
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert [line["event"] for line in lines if line["level"] == "warning"] == [told]


def test_the_version_is_shown(home):
    done = run_program(home, "--version")
    assert (done.returncode, done.stdout) == (0, f"connectory {version('connectory')}\n")


def test_a_port_in_use_is_one_line(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = refusal(run_command(home, "serve", "--port", str(taken.getsockname()[1])))
    assert "CONNECTORY_PORT" in line


def test_keys_are_rotated_while_secrets_stay_readable(home, command):
    item = {
        "key": "books",
        "connection_type": "postgres",
        "access": "read",
        "secrets": {"host": "h", "password": "p", "username": "u"},
    }
    with running_service(home) as service:
        headers = as_root(home, service)
        assert httpx.patch(f"{service.url}/api/v1/connection", json=[item], headers=headers).json()["failed"] == []
        service.end()  # one that is killed counts as running for two minutes more
    assert "secrets" not in run_command(home, "keys", "add", "--promote").stderr
    before = json.loads(command("secrets", "status", "--json")[1])
    [old] = before["rows_by_kid"]
    assert before["primary"] != old
    assert command("secrets", "rotate", "--dry-run")[1] == "re_encrypted=1 skipped=0 failed=0\n"
    assert run_command(home, "secrets", "rotate").stdout == "re_encrypted=1 skipped=0 failed=0\n"
    after = json.loads(command("secrets", "status", "--json")[1])
    assert after["rows_by_kid"] == {before["primary"]: 1}
    with running_service(home) as service:
        shown = httpx.get(f"{service.url}/api/v1/connection/books", headers=headers).json()
    assert shown["secrets_state"] == "stored"


def test_the_audit_trail_is_shown_newest_first(home, command):
    item = {"connection_type": "manual", "access": "read"}
    headers = {"Authorization": f"Bearer {command('token')[1].strip()}", "X-Request-ID": "request-7"}
    with running_service(home) as service:
        path = f"{service.url}/api/v1/connection"
        for items in (
            [item | {"key": "paper"}, item | {"key": "shelf"}],
            [item | {"key": "paper", "name": "S3cretName"}],
        ):
            assert httpx.patch(path, json=items, headers=headers).json()["failed"] == []
        httpx.delete(f"{path}/paper", headers=headers).raise_for_status()
    client = json.loads((home / "root_client.json").read_text())["client_id"]

    def shown(*options: str) -> list[dict[str, object]]:
        printed = command("audit", "--json", "--actor", client, *options)[1]
        return [json.loads(line) for line in printed.splitlines()]

    entries = shown()
    assert [(entry["action"], entry["connection_key"]) for entry in entries] == [
        ("deleted", "paper"),
        ("updated", "paper"),
        ("created", "shelf"),
        ("created", "paper"),
    ]
    assert entries[1] == {
        "at": entries[1]["at"],
        "actor": client,
        "action": "updated",
        "connection_id": entries[3]["connection_id"],
        "connection_key": "paper",
        "changed_fields": ["access", "name"],
        "kid": None,
        "result_code": "200",
        "request_id": entries[1]["request_id"],
        "client_request_id": "request-7",
        "object": None,
        "details": {},
        "id": entries[1]["id"],
    }
    assert re.fullmatch("[0-9a-f]{16}", entries[1]["request_id"])
    assert datetime.fromisoformat(entries[1]["at"]).tzinfo is not None
    assert shown("--connection", "shelf") == [entries[2]]
    assert shown("--action", "created", "--limit", "1") == [entries[2]]
    assert shown("--connection", "nothing") == []

    lines = run_command(home, "audit", "--actor", client).stdout.splitlines()
    assert len(lines) == 4
    at = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
    told = r"result=200  fields=access,name  request=\w+  client_request=request-7"
    assert re.fullmatch(rf"{at}  {client}  updated  paper  {told}", lines[1])
    assert {line.index("paper" if "paper" in line else "shelf") for line in lines} == {lines[0].index("paper")}


def test_a_lost_key_file_of_the_embedded_default_starts_degraded(home, command):
    secrets = {"host": "h", "password": "p", "username": "u"}
    item = {"key": "books", "connection_type": "postgres", "access": "read", "secrets": secrets}
    with running_service(home) as service:
        headers = as_root(home, service)
        httpx.patch(f"{service.url}/api/v1/connection", json=[item], headers=headers).raise_for_status()
    (home / "keys.json").unlink()
    with running_service(home) as service:
        assert httpx.get(f"{service.url}/ready").status_code == 200
        assert httpx.get(f"{service.url}/api/v1/status", headers=headers).json()["unreadable_rows"] == 1
        assert "was not there, so it was made again with a new key" in service.log.read_text()
        path = f"{service.url}/api/v1/connection/books"
        assert httpx.get(path, headers=headers).json()["secrets_state"] == "unreadable"
        httpx.put(f"{path}/secret?verify=false", json=secrets, headers=headers).raise_for_status()
    assert command("secrets", "status")[0] == 0


def test_without_the_server_extra_one_line_names_the_command(tmp_path):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise ModuleNotFoundError('No module named typer', name='typer')\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from connectory.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment_of(tmp_path))
    assert 'pip install "connectory[server]"' in refusal(done)


def test_nobody_else_reads_the_services_memory_or_environment(home):
    """PR_SET_DUMPABLE 0 gives a process's /proc entries to root; as root the flag itself is asked."""
    code = (
        "import ctypes, sys\n"
        "from connectory.checks.linux import hide_memory\n"
        "hide_memory()\n"
        "sys.exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"  # PR_GET_DUMPABLE
    )
    assert subprocess.run([sys.executable, "-c", code], env=environment_of(home)).returncode == 0


def test_every_command_has_a_line_of_help(home):
    shown = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, env=environment_of(home)).stdout
    for command in ("serve", "token", "client", "plugins", "dataset", "secrets", "keys", "db", "settings", "audit"):
        assert re.search(rf"^  {command}  +\S", shown, re.MULTILINE), command


def test_start_up_imports_nothing_that_only_some_requests_need(home, command):
    code = (
        "import sys\n"
        "from connectory.settings import read_settings\n"
        "from connectory.api.app import create_app, open_service\n"
        "service = open_service(read_settings())\n"
        "create_app(service)\n"
        "service.store.close()\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    command("token")  # the first start migrates, with Alembic
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment_of(home))
    imported = done.stdout
    for heavy in (
        "alembic",
        "fideslang",
        "prometheus_client",
        "fastapi_swagger",
        "psycopg2",
        "pymongo",
        "snowflake",
        "google",
        "httpx",
    ):
        assert f"'{heavy}'" not in imported, heavy
