"""`connectory keys` and `connectory secrets rotate`, beside services that run and that have ended."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from connectory.commands import app
from connectory.keys import open_vault
from connectory.settings import read_settings
from connectory.startup import open_database
from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.consents import ask, new_state, seal_verifier
from connectory.store.engine import Store
from connectory.store.envelopes import load_envelopes, seal
from connectory.store.nodes import beat, leave
from connectory.store.timestamps import utc_now
from connectory.vault import KeyRing, Vault, add_key, generate_keyring, load_keyring
from testkit.service import COMMAND, RunningService, environment_of, run_command, running_service


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def keys(home: Path) -> Path:
    home.mkdir()
    generate_keyring(home / "keys.json")
    return home / "keys.json"


@pytest.fixture
def opened(home, keys):
    """The deployment's store, open."""
    with open_database(read_settings(home=home)) as store:
        yield store


@pytest.fixture
def command(home):
    """Run a command in this process; gives its exit code, what it printed, and its one line of refusal."""

    def run(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, arguments, env={"CONNECTORY_HOME": str(home)})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            return 1, done.stdout, str(done.exception)
        return done.exit_code, done.stdout, done.stderr

    return run


def fill(store: Store, ring: KeyRing, *keys: str) -> list[str]:
    vault = Vault(ring)

    def item(key: str) -> SaveItem:
        return SaveItem(key, "postgres", "database", "d", seal=lambda row: seal(vault, row, secrets=b"S", masked=b"M"))

    with store.write() as database:
        return [saved.connection.id for saved in save_connections(database, [item(key) for key in keys], now=utc_now())]


def damage(store: Store, row_id: str) -> None:
    """Put an envelope of another column where the masked document's is."""
    with store.write() as database:
        secrets = load_envelopes(database, row_id)[0]
        statement = text("UPDATE connection_secrets SET masked_sealed = :moved WHERE connection_id = :id")
        database.execute(statement, {"moved": secrets, "id": row_id})


def node(store: Store, ring: KeyRing, name: str = "web-1 (process 7)") -> None:
    with store.write() as database:
        beat(database, name, name, ring)


def test_keys_are_listed_with_fingerprint_rows_and_who_lacks_them(command, opened, keys):
    old = load_keyring(keys)
    fill(opened, old, "books", "films")
    node(opened, old)
    ring = add_key(keys, promote=False)
    [new] = set(ring.kids()) - set(old.kids())
    code, shown, _ = command("keys", "list", "--json")
    assert code == 0
    first, second = json.loads(shown)
    assert first == {
        "kid": old.primary,
        "fingerprint": old.fingerprint(old.primary),
        "primary": True,
        "created": old.created[old.primary].isoformat(),
        "rows": 2,
        "recorded_fingerprint": None,
        "nodes_without": [],
    }
    assert (second["kid"], second["primary"], second["rows"]) == (new, False, 0)
    assert second["nodes_without"] == ["web-1 (process 7)"]
    lines = command("keys", "list")[1].splitlines()
    assert lines[0].startswith(f"{old.primary}  {old.fingerprint(old.primary)}  rows=2  primary  created=")
    assert lines[1].endswith("not held by web-1 (process 7)")
    for kid in ring.kids():
        assert json.loads(keys.read_text())["keys"][kid] not in shown


def test_a_key_that_rows_need_and_the_file_lacks_is_listed(command, opened, keys):
    lost = KeyRing("lost", {"lost": os.urandom(32)})
    fill(opened, lost, "books")
    node(opened, lost)
    assert "lost  missing  rows=1" in command("keys", "list")[1].splitlines()


def test_another_key_under_an_id_shows_in_the_list(command, opened, keys, home):
    before = load_keyring(keys)
    open_vault(read_settings(home=home), opened, warn=pytest.fail)
    keys.unlink()
    generate_keyring(keys)
    assert f"recorded as {before.fingerprint(before.primary)}" in command("keys", "list")[1]


def test_a_key_that_a_running_node_lacks_is_not_promoted(command, opened, keys):
    old = load_keyring(keys)
    node(opened, old)
    ring = add_key(keys, promote=False)
    [new] = set(ring.kids()) - set(old.kids())
    code, _, line = command("keys", "promote", new)
    assert code == 1
    assert re.match(
        rf"The node web-1 \(process 7\), seen \d+ s ago, does not hold the key '{new}'\. .*SIGHUP.*--force", line
    )
    assert load_keyring(keys).primary == old.primary
    node(opened, KeyRing(old.primary, {old.primary: old.key(old.primary), new: os.urandom(32)}))
    assert "holds another key under the id" in command("keys", "promote", new)[2]
    node(opened, ring)
    code, shown, _ = command("keys", "promote", new, "--json")
    assert (code, json.loads(shown)["primary"]) == (0, new)
    assert load_keyring(keys).primary == new


def test_a_new_key_is_promoted_at_once_only_while_no_node_runs(command, opened, keys):
    old = load_keyring(keys)
    node(opened, old)
    code, _, line = command("keys", "add", "--promote")
    assert code == 1
    assert "web-1 (process 7)" in line
    assert load_keyring(keys) == old
    with opened.write() as database:
        leave(database, "web-1 (process 7)")
    code, shown, _ = command("keys", "add", "--promote", "--json")
    answer = json.loads(shown)
    assert code == 0
    assert answer["primary"] == answer["added"] == load_keyring(keys).primary != old.primary


def test_force_promotes_all_the_same(command, opened, keys):
    node(opened, load_keyring(keys))
    assert command("keys", "add", "--promote", "--force")[0] == 0
    assert "secrets_unreadable" in command("keys", "promote", "--help")[1].replace("\n", " ")


def test_a_key_that_rows_need_is_not_removed(command, opened, keys):
    old = load_keyring(keys)
    fill(opened, old, "books", "films")
    ring = add_key(keys, promote=True)
    code, _, line = command("keys", "remove", old.primary)
    assert code == 1
    assert line.startswith(
        f"Stored secrets need the key '{old.primary}' (connections: 2); run `connectory secrets rotate` first."
    )
    assert load_keyring(keys) == ring
    assert command("secrets", "rotate")[0] == 0
    assert command("keys", "remove", old.primary)[0] == 0
    assert load_keyring(keys).kids() == (ring.primary,)


def test_a_key_that_a_node_seals_with_or_a_consent_needs_is_not_removed(command, opened, keys):
    old = load_keyring(keys)
    [row] = fill(opened, old, "books")
    state = new_state()
    with opened.write() as database:
        verifier = seal_verifier(Vault(old), state, "verifier")
        assert ask(database, state, row, secrets_version=1, verifier=verifier, now=utc_now())
    add_key(keys, promote=True)
    command("secrets", "rotate")
    assert command("keys", "remove", old.primary)[2].startswith("Consents that persons were asked for need the key")
    with opened.write() as database:
        database.execute(text("DELETE FROM authorizations"))
    node(opened, old)
    assert "still seals with the key" in command("keys", "remove", old.primary)[2]
    node(opened, load_keyring(keys))
    assert command("keys", "remove", old.primary)[0] == 0


def test_the_primary_and_unknown_keys_are_not_removed(command, opened, keys):
    ring = load_keyring(keys)
    assert "is the primary, which seals; promote another key first" in command("keys", "remove", ring.primary)[2]
    assert "has no key 'nothing'; `connectory keys list` shows them" in command("keys", "remove", "nothing")[2]
    assert "has no key 'nothing'" in command("keys", "promote", "nothing")[2]


def test_force_removes_a_key_that_rows_need(command, opened, keys):
    old = load_keyring(keys)
    fill(opened, old, "books")
    add_key(keys, promote=True)
    assert command("keys", "remove", old.primary, "--force")[0] == 0
    assert old.primary not in load_keyring(keys).kids()


def test_rotation_opens_rows_under_the_primary_key_too_and_names_those_that_failed(command, opened, keys):
    ring = load_keyring(keys)
    damage(opened, fill(opened, ring, "books", "films")[1])
    for options in ((), ("--dry-run",)):
        code, shown, _ = command("secrets", "rotate", *options)
        assert (code, shown.splitlines()) == (
            1,
            [
                "re_encrypted=0 skipped=0 failed=1",
                f"failed key=films field=masked kid={ring.primary} reason=tampered",
            ],
        )
    code, shown, _ = command("secrets", "rotate", "--json")
    assert (code, json.loads(shown)) == (
        1,
        {
            "re_encrypted": 0,
            "skipped": 0,
            "failed": 1,
            "failures": [{"key": "films", "field": "masked", "kid": ring.primary, "reason": "tampered"}],
        },
    )


def test_a_bar_shows_at_a_terminal_and_nowhere_else(opened, keys, home):
    fill(opened, load_keyring(keys), *(f"k{number}" for number in range(7)))
    add_key(keys, promote=True)
    here, there = pty.openpty()
    done = subprocess.run(
        [COMMAND, "secrets", "rotate", "--dry-run"],
        env=environment_of(home) | {"TERM": "xterm", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=there,
        text=True,
        timeout=60,
    )
    os.close(there)
    shown = os.read(here, 65536).decode()
    os.close(here)
    assert done.stdout == "re_encrypted=7 skipped=0 failed=0\n"
    assert "Connections" in shown
    assert "7/7" in shown
    elsewhere = run_command(home, "secrets", "rotate", "--dry-run")
    assert (elsewhere.stdout, elsewhere.stderr) == ("re_encrypted=7 skipped=0 failed=0\n", "")


def test_a_lost_generated_key_is_told(opened, keys, home):
    fill(opened, load_keyring(keys), "books", "films")
    settings = read_settings(home=home)
    open_vault(settings, opened, warn=pytest.fail)
    keys.unlink()
    told: list[str] = []
    vault = open_vault(settings, opened, warn=told.append)
    [line] = told
    assert line.startswith(f"Key file {keys} was not there, so it was made again with a new key;")
    assert "(connections: 2)" in line
    assert load_keyring(keys).primary == vault.ring.primary


def test_a_key_of_an_older_ring_that_is_missing_or_another_one_is_told_by_name(opened, keys, home):
    old = load_keyring(keys)
    fill(opened, old, "books")
    settings = read_settings(home=home)
    open_vault(settings, opened, warn=pytest.fail)
    ring = add_key(keys, promote=True)
    document = json.loads(keys.read_text())
    told: list[str] = []
    spare = add_key(keys, promote=False)
    [third] = set(spare.kids()) - set(ring.kids())
    document["keys"][old.primary] = json.loads(keys.read_text())["keys"][third]
    keys.write_text(json.dumps(document))
    open_vault(settings, opened, warn=told.append)
    [line] = told
    assert line.startswith(
        f"The key '{old.primary}' in key file {keys} differs from the key of this id that stored secrets"
    )
    assert "(connections: 1)" in line
    del document["keys"][old.primary]
    del document["created"]
    keys.write_text(json.dumps(document))
    told.clear()
    open_vault(settings, opened, warn=told.append)
    assert told == [f"The key '{old.primary}' is not in key file {keys}; connections that need it: 1."]


def test_keys_of_the_environment_are_told_to_be_for_development(opened, keys, home):
    told: list[str] = []
    settings = read_settings(home=home, keys_provider="environment", keys_json=keys.read_text())
    assert open_vault(settings, opened, warn=told.append).ring == load_keyring(keys)
    assert ["for development" in line for line in told] == [True]


def events(service: RunningService, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def wait_for(service: RunningService, event: str, number: int = 1) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while len(found := events(service, event)) < number:
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.02)
    return found[-1]


def test_a_node_takes_changed_keys_without_a_restart(home, command):
    token = run_command(home, "token").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    keys = home / "keys.json"

    def put(service: RunningService, key: str) -> None:
        item = {"key": key, "connection_type": "postgres", "access": "read"}
        item |= {"secrets": {"host": "h", "password": "p", "username": "u"}}
        answer = httpx.patch(f"{service.url}/api/v1/connection", json=[item], headers=headers)
        assert answer.json()["failed"] == []

    def rows() -> dict[str, int]:
        return {item["kid"]: item["rows"] for item in json.loads(command("keys", "list", "--json")[1])}

    with running_service(home) as service:
        old = load_keyring(keys).primary
        put(service, "books")
        assert socket.gethostname() in command("keys", "add", "--promote")[2]
        new = json.loads(command("keys", "add", "--json")[1])["added"]
        assert "does not hold the key" in command("keys", "promote", new)[2]
        service.process.send_signal(signal.SIGHUP)
        line = wait_for(service, "keys_reloaded")
        assert (line["primary"], set(line["keys"])) == (old, {old, new})
        deadline = time.monotonic() + 30  # the heartbeat follows the line
        while command("keys", "promote", new)[0] != 0:
            assert time.monotonic() < deadline
        service.process.send_signal(signal.SIGHUP)
        assert wait_for(service, "keys_reloaded", 2)["primary"] == new
        put(service, "films")
        assert rows() == {old: 1, new: 1}

        good = keys.read_text()
        keys.write_text("{")
        service.process.send_signal(signal.SIGHUP)
        line = wait_for(service, "keys_not_reloaded")
        assert (line["level"], set(line["kept"])) == ("error", {old, new})
        assert "is not JSON" in line["reason"]
        for key in ("books", "films"):
            shown = httpx.get(f"{service.url}/api/v1/connection/{key}", headers=headers).json()
            assert shown["secrets_state"] == "stored"
        keys.write_text(good)
        assert service.end()[0] == 0
    assert command("keys", "add", "--promote")[0] == 0
