"""What commands and starts leave in the audit trail, and `connectory audit`, which shows it."""

import json
import os
import pwd
from datetime import UTC, datetime, timedelta

import pytest

from connectory.catalog.catalog import Catalog
from connectory.commands.shared import acting
from connectory.known_settings import changed_settings
from connectory.settings import read_settings
from connectory.store.audit import Actor, append

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def shown(command):
    """The entries that `connectory audit --json` prints, newest first."""

    def show(*options: str) -> list[dict[str, object]]:
        code, lines, _ = command("audit", "--json", *options)
        assert code == 0
        return [json.loads(line) for line in lines.splitlines()]

    return show


def acts(entries) -> list[tuple[object, ...]]:
    return [(entry["actor"], entry["action"], entry["object"], entry["result_code"]) for entry in reversed(entries)]


def test_what_becomes_of_a_client_is_told_without_its_secrets(command, shown, opened):
    made = json.loads(command("client", "create", "reporting", "--scope", "connection:read")[1])
    one, old = made["client_id"], made["client_secret"]
    token = command("token", "--client", one)[1].strip()
    new = json.loads(command("client", "rotate-secret", one)[1])["client_secret"]
    command("client", "rotate-secret", one, "--revoke-tokens")
    assert command("client", "delete", one)[0] == 0
    assert command("client", "delete", one)[0] == command("client", "rotate-secret", one)[0] == 1
    told = shown("--object", one)
    assert acts(told) == [
        ("client create", "client_created", one, "succeeded"),
        ("token", "token_issued", one, "succeeded"),
        ("client rotate-secret", "client_secret_rotated", one, "succeeded"),
        ("client rotate-secret", "client_secret_rotated", one, "succeeded"),
        ("client rotate-secret", "tokens_revoked", one, "succeeded"),
        ("client delete", "client_deleted", one, "succeeded"),
    ]
    assert {entry["details"]["user"] for entry in told} == {ME}
    assert told[-1]["details"] == {"user": ME, "name": "reporting", "scopes": "connection:read"}
    assert told[1]["details"] == {"user": ME, "times": 1}
    for secret in (old, new, token):
        assert secret not in command("audit", "--limit", "1000")[1]


def test_the_keys_of_a_deployment_are_told(command, shown, opened, keys, home):
    [first] = json.loads(command("keys", "list", "--json")[1])
    added = json.loads(command("keys", "add", "--json")[1])["added"]
    command("keys", "promote", added)
    command("keys", "remove", first["kid"])
    third = json.loads(command("keys", "add", "--promote", "--json")[1])["added"]
    command("keys", "generate", str(home / "more.json"))
    assert command("keys", "promote", "nothing")[0] == 1
    told = shown("--action", "key*")
    month = first["kid"]
    assert acts(told) == [
        ("keys add", "key_added", added, "succeeded"),
        ("keys promote", "key_promoted", added, "succeeded"),
        ("keys remove", "key_removed", month, "succeeded"),
        ("keys add", "key_added", third, "succeeded"),
        ("keys add", "key_promoted", third, "succeeded"),
        ("keys generate", "key_created", month, "succeeded"),
    ]
    assert told[-2]["details"] == {"user": ME, "primary": added}
    everything = command("audit")[1]
    for key in json.loads(keys.read_text())["keys"].values():
        assert key not in everything


def test_a_key_file_is_made_where_there_is_no_store_yet(command, home, tmp_path):
    code, _, errors = command("keys", "generate", str(tmp_path / "keys.json"))
    assert (code, errors, home.exists()) == (0, "", False)


def test_a_change_of_keys_that_cannot_be_told_is_done_and_warned_of(command, keys, monkeypatch):
    monkeypatch.setenv("CONNECTORY_DATABASE_URL", "postgresql://u:S3cretPw@127.0.0.1:1/d")
    code, _, errors = command("keys", "add", str(keys))
    assert code == 0
    assert errors.startswith("Warning: The audit trail does not tell of this: ")
    assert "S3cretPw" not in errors
    assert len(json.loads(keys.read_text())["keys"]) == 2


def test_upgrades_of_a_database_are_told(command, shown, blank_url, monkeypatch):
    monkeypatch.setenv("CONNECTORY_DATABASE_URL", blank_url)
    assert command("db", "upgrade")[0] == command("db", "upgrade")[0] == 0
    [entry] = shown()
    assert acts([entry]) == [("db upgrade", "database_upgraded", None, "succeeded")]
    assert entry["details"].keys() == {"user", "before", "after"}


def test_the_first_start_of_the_embedded_default_is_told(command, shown, home):
    command("token", "--scope", "connection:read")
    client = json.loads((home / "root_client.json").read_text())["client_id"]
    assert acts(shown()) == [
        ("start", "database_upgraded", None, "succeeded"),
        ("start", "client_created", client, "succeeded"),
        ("token", "token_issued", client, "succeeded"),
    ]


def test_entries_are_chosen_by_every_filter(command, shown, opened):
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with opened.write() as database:
        append(
            database,
            Actor("ada", "r-1", "theirs").did("key_added", object="k", result_code="200", at=at, details={"a": 1}),
            Actor("bob").did("tested", result_code="timeout", at=at + timedelta(days=1)),
        )
    old = ["--until", "2026-03-15"]
    assert [entry["actor"] for entry in shown(*old)] == ["bob", "ada"]
    assert [entry["actor"] for entry in shown(*old, "--limit", "1")] == ["bob"]
    for options in (
        ["--actor", "ada"],
        ["--action", "key*"],
        ["--object", "k"],
        ["--result", "200"],
        ["--until", "2026-03-02T12:59:59+01:00"],
    ):
        assert [entry["actor"] for entry in shown(*old, *options)] == ["ada"], options
    assert [entry["actor"] for entry in shown("--until", "2026-03-15", "--since", "2026-03-02")] == ["bob"]
    assert shown(*old, "--connection", "nothing") == []
    line = "2026-03-01 12:00:00Z  ada  key_added  k  result=200  request=r-1  client_request=theirs  a=1"
    assert command("audit", *old, "--actor", "ada")[1].splitlines() == [line]
    for wrong in (["--since", "S3cretPw"], ["--action", "S3cretPw"], ["--limit", "0"]):
        code, printed, errors = command("audit", *wrong)
        assert (code, printed) == (2, "")
        assert "S3cretPw" not in errors


def test_settings_that_differ_from_the_defaults_are_named_without_anything_secret(monkeypatch):
    monkeypatch.setenv("CONNECTORY_DATABASE_URL", "postgresql://reader:S3cret%40Pw@db:5432/app?password=S3cretPw")
    monkeypatch.setenv("CONNECTORY_KEYS_JSON", '{"primary": "S3cretPw"}')
    monkeypatch.setenv("CONNECTORY_VAULT_ADDRESS", "https://me:S3cretPw@vault.example:8200?token=S3cretPw")
    monkeypatch.setenv("CONNECTORY_PORT", "8000")
    environment = {"CONNECTORY_ACME_TOKEN": "S3cretPw", "CONNECTORY_NOBODYS": "S3cretPw"}
    catalog = Catalog([], [], variables=["CONNECTORY_ACME_TOKEN"])
    assert changed_settings(read_settings(docs=False), catalog, environment) == {
        "CONNECTORY_DATABASE_URL": "postgresql://reader:***@db:5432/app",
        "CONNECTORY_KEYS_JSON": "***",
        "CONNECTORY_VAULT_ADDRESS": "https://me:***@vault.example:8200",
        "CONNECTORY_DOCS": "False",
        "CONNECTORY_ACME_TOKEN": "set",
    }


def test_an_account_without_a_name_is_its_number(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    assert acting("token") == Actor("token", user="4000000001")
