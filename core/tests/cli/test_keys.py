"""`connectory keys` and `connectory secrets rotate`, beside nodes that run."""

import json
import os
import pty
import re
import subprocess

import pytest
from sqlalchemy import text

from connectory.keys import open_vault
from connectory.settings import read_settings
from connectory.store.consents import ask, new_secret, seal_verifier
from connectory.store.engine import Store
from connectory.store.envelopes import load_envelopes
from connectory.store.nodes import beat, leave
from connectory.store.timestamps import utc_now
from connectory.vault import KeyRing, Vault, add_key, generate_keyring, load_keyring
from testkit.service import COMMAND, environment_of, run_command


def damage(store: Store, row_id: str) -> None:
    """Put an envelope of another column where the masked document's is."""
    with store.write() as database:
        secrets = load_envelopes(database, row_id)[0]
        statement = text("UPDATE connection_secrets SET masked_sealed = :moved WHERE connection_id = :id")
        database.execute(statement, {"moved": secrets, "id": row_id})


def node(store: Store, ring: KeyRing, name: str = "web-1 (process 7)") -> None:
    with store.write() as database:
        beat(database, name, name, ring)


def test_keys_are_listed_with_fingerprint_rows_and_who_lacks_them(command, opened, keys, fill):
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


def test_a_key_that_rows_need_and_the_file_lacks_is_listed(command, opened, keys, fill):
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


def test_a_key_that_rows_need_is_not_removed(command, opened, keys, fill):
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


def test_a_key_that_a_node_seals_with_or_a_consent_needs_is_not_removed(command, opened, keys, fill):
    old = load_keyring(keys)
    [row] = fill(opened, old, "books")
    state = new_secret()
    with opened.write() as database:
        verifier = seal_verifier(Vault(old), state, "verifier")
        given = {"secrets_version": 1, "asked_by": "client", "browser": "cookie=1", "verifier": verifier}
        assert ask(database, state, row, **given, now=utc_now())
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


def test_force_removes_a_key_that_rows_need(command, opened, keys, fill):
    old = load_keyring(keys)
    fill(opened, old, "books")
    add_key(keys, promote=True)
    assert command("keys", "remove", old.primary, "--force")[0] == 0
    assert old.primary not in load_keyring(keys).kids()


def test_rotation_opens_rows_under_the_primary_key_too_and_names_those_that_failed(command, opened, keys, fill):
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


def test_a_bar_shows_at_a_terminal_and_nowhere_else(opened, keys, home, fill):
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
