"""`connectory schedule`, `webhook` and `history`, over a store of their own."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from connectory.catalog.catalog import build_catalog
from connectory.catalog.discovery import Selection
from connectory.commands import app, health
from connectory.settings import read_settings
from connectory.startup import open_database
from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.connections import get_by_key
from connectory.store.timestamps import utc_now
from connectory.store.verdicts import Verdict, record_verdict
from connectory.vault import generate_keyring

SECRET = "sixteen characters-4711"
URL = "http://127.0.0.1:9/hook"
CATALOG = build_catalog(Selection(allow=frozenset({"postgres", "manual"})), environment={})


@pytest.fixture
def home(tmp_path):
    """A home with the connections `shop_db` and `by_hand`."""
    home = tmp_path / "home"
    home.mkdir()
    generate_keyring(home / "keys.json")
    items = [SaveItem("shop_db", "postgres", "database", "connectory-postgres")]
    items.append(SaveItem("by_hand", "manual", "manual", "connectory"))
    with open_database(read_settings(home=home)) as store, store.write() as database:
        save_connections(database, items, now=utc_now())
    return home


@pytest.fixture
def run(home, monkeypatch):
    """Run a command in this process; gives its exit code, and what it printed on both streams."""
    monkeypatch.setattr(health, "catalog_now", lambda: CATALOG)

    def run(*arguments, given=""):
        environment = {"CONNECTORY_HOME": str(home), "CONNECTORY_EGRESS_ALLOW_LOOPBACK": "true"}
        done = CliRunner().invoke(app, arguments, env=environment, input=given)
        assert SECRET not in done.output
        return done.exit_code, done.stdout, done.stderr

    return run


def test_a_schedule_is_set_shown_and_ended(run):
    code, printed, _ = run("schedule", "set", "shop_db", "--test-every", "120m", "--check-every", "1d")
    assert (code, [line.split(" due=")[0] for line in printed.splitlines()]) == (0, ["test every=2h", "check every=1d"])
    shown = json.loads(run("schedule", "show", "shop_db", "--json")[1])
    assert (shown["test_every"], shown["check_every"], shown["test_ran_at"], shown["paused"]) == (
        "2h",
        "1d",
        None,
        False,
    )
    assert run("schedule", "set", "by_hand", "--test-every", "1h")[0] == 0
    assert run("schedule", "delete", "shop_db") == (0, "", "")
    assert run("schedule", "show", "shop_db")[::2] == (2, "The connection 'shop_db' has no schedule.\n")


def test_a_webhook_is_set_without_its_secret_on_the_command_line(run, home):
    code, printed, told = run("webhook", "set", "shop_db", URL, given=f"{SECRET}\n")
    assert (code, printed) == (0, f"url={URL} pending=0\n"), told
    shown = json.loads(run("webhook", "show", "shop_db", "--json")[1])
    assert (shown["url"], shown["has_secret"], shown["last_delivery"]) == (URL, True, None)
    assert run("webhook", "delete", "shop_db")[0] == 0
    assert run("webhook", "show", "shop_db")[::2] == (2, "The connection 'shop_db' has no webhook.\n")
    assert SECRET.encode() not in (home / "connectory.db").read_bytes()


def test_the_history_is_told_newest_first(run, home):
    with open_database(read_settings(home=home)) as store, store.write() as database:
        connection = get_by_key(database, "shop_db").id
        at = datetime(2026, 11, 27, 10, tzinfo=UTC)
        record_verdict(database, connection, Verdict("test", "", at, None, 1, "failed", "auth_failed", 4.5))
        drifted = Verdict("check", "public_1", at, "client", 1, "drifted", coverage=93, findings=2)
        record_verdict(database, connection, drifted)
    assert run("history", "shop_db")[1].splitlines() == [
        "2026-11-27T10:00:00+00:00  check public_1  drifted coverage=93 findings=2  by hand",
        "2026-11-27T10:00:00+00:00  test  failed auth_failed  by schedule",
    ]
    page = json.loads(run("history", "shop_db", "--size", "1", "--json")[1])
    assert (page["total"], [one["outcome"] for one in page["items"]]) == (2, ["drifted"])


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["schedule", "set", "nowhere", "--test-every", "1h"], "", "No connection configuration found"),
        (["schedule", "set", "shop_db"], "", "Must have test_every, check_every, or both"),
        (["schedule", "set", "shop_db", "--test-every", "90s"], "", "test_every: Must be a whole number"),
        (["schedule", "set", "by_hand", "--check-every", "1d"], "", "cannot be discovered"),
        (["schedule", "delete", "shop_db"], "", "has no schedule"),
        (["webhook", "set", "nowhere", URL], SECRET, "No connection configuration found"),
        (["webhook", "set", "shop_db", URL], "short", "secret: "),
        (["webhook", "set", "shop_db", "ftp://x"], SECRET, "url: Must be an address"),
        (["webhook", "set", "shop_db", "http://10.0.0.1/x"], SECRET, "url: "),
        (["webhook", "delete", "shop_db"], "", "has no webhook"),
        (["history", "nowhere"], "", "No connection configuration found"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_and_changes_nothing(run, arguments, given, said):
    code, printed, told = run(*arguments, given=given)
    assert (code, printed) == (2, "")
    assert said in told


def test_the_audit_trail_names_the_command(run):
    run("schedule", "set", "shop_db", "--test-every", "1h")
    [entry] = [json.loads(line) for line in run("audit", "--json")[1].splitlines() if "schedule_set" in line]
    assert (entry["actor"], entry["connection_key"]) == ("schedule set", "shop_db"), entry
