"""What is told of keys when the service starts, and when it reads them again."""

import json
import signal
import socket
import time

import httpx
import pytest

from connectory.keys import open_vault
from connectory.settings import read_settings
from connectory.vault import add_key, load_keyring
from testkit.service import RunningService, running_service


def test_a_lost_generated_key_is_told(opened, keys, home, fill):
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


def test_a_key_of_an_older_ring_that_is_missing_or_another_one_is_told_by_name(opened, keys, home, fill):
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
    token = command("token")[1].strip()
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
    reloads = [json.loads(entry) for entry in command("audit", "--json", "--action", "keys_reloaded")[1].splitlines()]
    assert [(entry["actor"], entry["object"], entry["result_code"]) for entry in reversed(reloads)] == [
        ("serve", old, "succeeded"),
        ("serve", new, "succeeded"),
        ("serve", new, "failed"),
    ]
    assert "is not JSON" in reloads[0]["details"]["reason"]
    assert reloads[0]["details"]["keys"].startswith(f"{old}=")
    assert command("keys", "add", "--promote")[0] == 0
