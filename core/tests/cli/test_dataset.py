"""`connectory dataset`: generate and check, over a real PostgreSQL."""

import errno
import json
import stat
from uuid import uuid4

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from connectory.api.stored.sealing import seal_document
from connectory.catalog.catalog import build_catalog
from connectory.catalog.discovery import Selection
from connectory.commands import app, discovering
from connectory.drift.codes import Code
from connectory.settings import read_settings
from connectory.startup import open_database
from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.connections import get_by_key
from connectory.store.datasets import upsert_many
from connectory.store.timestamps import utc_now
from connectory.vault import Vault, generate_keyring

SHOP = """
CREATE TABLE customer (id integer PRIMARY KEY, email varchar(100), "no" text);
CREATE TABLE bought (id integer PRIMARY KEY, buyer integer REFERENCES customer);
CREATE SCHEMA "Other"; CREATE TABLE "Other".thing (id integer PRIMARY KEY);
"""


CATALOG = build_catalog(Selection(allow=frozenset({"postgres", "manual"})), environment={})


@pytest.fixture(scope="module")
def shop(postgres):
    """A database that tests of this module change, and put back."""
    name = f"shop_{uuid4().hex}"
    postgres.create_database(name)
    postgres.execute(SHOP, database=name)
    return name


@pytest.fixture(scope="module")
def home(tmp_path_factory, postgres, shop):
    """A home with the connections `shop_db`, `lost_db`, whose password is wrong, and `by_hand`."""
    home = tmp_path_factory.mktemp("shop") / "home"
    home.mkdir()
    ring = generate_keyring(home / "keys.json")
    connector = CATALOG.connectors["postgres"]
    where = {"host": postgres.host, "port": postgres.port, "dbname": shop, "username": postgres.superuser}

    def item(key, password):
        secrets = where | {"password": password}
        return SaveItem(
            key, "postgres", "database", "d", seal=lambda row: seal_document(Vault(ring), connector, row, secrets)
        )

    items = [item("shop_db", postgres.password), item("lost_db", "wrong-4711")]
    with open_database(read_settings(home=home)) as store, store.write() as database:
        save_connections(database, [*items, SaveItem("by_hand", "manual", "manual", "connectory")], now=utc_now())
    return home


@pytest.fixture
def run(home, monkeypatch):
    """Run `connectory dataset` in this process; gives its exit code, and what it printed on both streams."""
    monkeypatch.setattr(discovering, "catalog_now", lambda: CATALOG)

    def run(*arguments):
        done = CliRunner().invoke(app, ["dataset", *arguments], env={"CONNECTORY_HOME": str(home)})
        assert "wrong-4711" not in done.output
        return done.exit_code, done.stdout, done.stderr

    return run


@pytest.fixture
def stored(home):
    """Store datasets of a connection, as they are in the text of a file; gives their keys."""

    def store(text, key="shop_db"):
        datasets = {one["fides_key"]: orjson.dumps(one).decode() for one in yaml.safe_load(text)["dataset"]}
        with open_database(read_settings(home=home)) as store, store.write() as database:
            upsert_many(database, get_by_key(database, key).id, datasets, now=utc_now())
        return list(datasets)

    return store


def test_a_connection_is_looked_at_stored_checked_and_found_changed(run, stored, postgres, shop, tmp_path):
    out = tmp_path / "shop.yml"
    code, printed, told = run("generate", "shop_db", "--schema", "public", "--schema", "Other", "--out", str(out))
    assert (code, printed) == (0, ""), told
    assert told.splitlines() == [
        "shop_db: looking",
        "2 datasets with 3 collections; 0 left out; 1 fields look like personal data (--json lists them).",
        "The connection is for reading, and its account can write to 3 collections; what takes that away:",
        f'  ALTER ROLE "{postgres.superuser}" NOSUPERUSER;',
    ]
    [public, other] = yaml.safe_load(out.read_text())["dataset"]
    assert [one["name"] for one in (public, other)] == ["public", "Other"]
    assert [field["name"] for field in public["collections"][1]["fields"]] == ["id", "email", "no"]
    keys = sorted(stored(out.read_text()))

    assert run("check", "shop_db")[:2] == (0, "".join(f"{key}  coverage=100 findings=0\n" for key in keys))

    postgres.execute('ALTER TABLE customer ADD phone text; ALTER TABLE customer DROP "no"', database=shop)
    code, printed, _ = run("check", "shop_db", public["fides_key"])
    assert (code, printed.splitlines()[0]) == (1, f"{public['fides_key']}  coverage=80 findings=2")
    assert "  error  field_missing  customer.no  The table has no field 'no'. Remove it" in printed


def test_a_connection_that_cannot_be_looked_at_is_told_with_the_reason(run, stored, tmp_path):
    stored("dataset: [{fides_key: lost_1, collections: []}, {fides_key: lost_2, collections: []}]", "lost_db")
    code, printed, told = run("check", "lost_db", "--json")
    [answer] = json.loads(printed)
    assert (code, answer["fides_key"], answer["failure_code"]) == (3, "lost_1", "auth_failed")
    assert "lost_1: auth_failed: The server rejected the credentials; check user name and password." in told
    assert "Fields: username, password." in told


def test_what_is_new_is_merged_into_a_dataset_and_what_people_wrote_stays(run, stored, postgres, shop):
    [key] = stored("""dataset: [{fides_key: by_hand, fides_meta: {namespace: {schema: public}}, collections: [
        {name: customer, description: ours, fields: [{name: email, data_categories: [user.contact.email]}]}]}]""")
    code, printed, told = run("generate", "shop_db", "--merge", key)
    assert code == 0, told
    [merged] = yaml.safe_load(printed)["dataset"]
    assert merged["fides_key"] == "by_hand"
    customer, bought = merged["collections"]
    assert (customer["description"], bought["name"]) == ("ours", "bought")
    assert customer["fields"][0] == {"name": "email", "data_categories": ["user.contact.email"]}
    assert "id" in [field["name"] for field in customer["fields"]]
    assert bought["fields"][1]["fides_meta"]["references"] == [{"dataset": "by_hand", "field": "customer.id"}]


ANSWER = {"fides_key": "a", "status": "complete", "coverage": 80, "findings": [], "findings_left_out": 0}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], 1),
        (["--coverage-threshold", "80"], 1),
        (["--coverage-threshold", "80", "--fail-on", "type_changed, key_changed"], 0),
        (["--coverage-threshold", "80", "--fail-on", "type_changed", "--fail-on", "field_missing"], 1),
        (["--coverage-threshold", "81", "--fail-on", "type_changed"], 1),
    ],
)
def test_coverage_and_the_codes_that_count_decide(run, monkeypatch, options, expected):
    monkeypatch.setattr(discovering, "check_datasets", lambda *_: [ANSWER | {"counts": {"field_missing": 1001}}])
    assert run("check", "shop_db", *options) == (expected, "a  coverage=80 findings=1001\n", "")


def test_names_that_a_terminal_would_obey_are_shown_as_text(run, monkeypatch):
    finding = {"severity": "error", "code": "field_missing", "message": "No 'a\x1b[2J'.", "remedy": "Remove it."}
    findings = [finding | {"collection": "c", "field": ["a.b", "\u202e"]}]
    answer = ANSWER | {"counts": {"field_missing": 2}, "findings": findings, "findings_left_out": 1}
    monkeypatch.setattr(discovering, "check_datasets", lambda *_: [answer])
    _, printed, _ = run("check", "shop_db")
    assert printed.splitlines()[1:] == [
        "  error  field_missing  c.a.b.\\u202e  No 'a\\u001b[2J'. Remove it.",
        "  and 1 more.",
    ]


FOUND = {"status": "complete", "left_out": [], "suggestions": [], "access_report": None} | {
    "datasets": [{"fides_key": "a", "collections": []}]
}


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(run, monkeypatch, tmp_path):
    out, link = tmp_path / "shop.yml", tmp_path / "link.yml"
    out.write_text("old")
    out.chmod(0o640)
    link.symlink_to(out)
    monkeypatch.setattr(discovering, "discover", lambda *_: FOUND)
    code, printed, _ = run("generate", "shop_db", "--out", str(link), "--json")
    assert (code, json.loads(printed)) == (0, FOUND)
    assert (yaml.safe_load(out.read_text())["dataset"], stat.S_IMODE(out.stat().st_mode)) == (FOUND["datasets"], 0o640)
    assert run("generate", "shop_db")[1] == out.read_text()

    monkeypatch.setattr("os.fsync", no_room)
    assert run("generate", "shop_db", "--out", str(out))[0] == 3
    assert sorted(tmp_path.iterdir()) == [link, out]


def test_of_many_statements_the_first_ten_are_told(run, monkeypatch):
    remedies = [f"REVOKE UPDATE ON t{number} FROM app\x1b;" for number in range(12)]
    report = {"finding": "can_write", "excess": [{}] * 12, "remedy": remedies}
    monkeypatch.setattr(discovering, "discover", lambda *_: FOUND | {"access_report": report})
    lines = run("generate", "shop_db")[2].splitlines()
    assert len(lines) == 13
    assert lines[2] == "  REVOKE UPDATE ON t0 FROM app\\u001b;"
    assert lines[-1] == "  and 2 more (--json lists them)."


def no_room(_):
    raise OSError(errno.ENOSPC, "no room")


def test_a_discovery_that_failed_leaves_the_file_alone(run, monkeypatch, tmp_path):
    failed = FOUND | {"status": "failed", "datasets": [], "failure_code": "timeout"}
    failed |= {"failure_reason": "It took too long; ask for less.", "failure_fields": []}
    monkeypatch.setattr(discovering, "discover", lambda *_: failed)
    code, printed, told = run("generate", "shop_db", "--out", str(tmp_path / "shop.yml"))
    assert (code, printed, told) == (3, "", "shop_db: timeout: It took too long; ask for less.\n")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_now_and_then(capsys):
    with discovering._progress("shop_db") as seen:
        for _ in range(1001):
            seen()
    assert capsys.readouterr().err.splitlines() == [
        "shop_db: looking",
        "shop_db: 500 collections so far",
        "shop_db: 1000 collections so far",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "shop_db", "--fail-on", "field_missing,gone"], ", ".join(Code)),
        (["check", "shop_db", "--coverage-threshold", "101"], "--coverage-threshold"),
        (["check", "nowhere"], "No connection configuration found with key 'nowhere'."),
        (["check", "shop_db", "nothing"], "No dataset with fides_key 'nothing'"),
        (["check", "by_hand"], "has no datasets"),
        (["generate", "by_hand"], "cannot be discovered"),
        (["generate", "shop-db"], "Did you mean 'shop_db'?"),
        (["generate", "shop_db", "--merge", "nothing"], "No dataset with fides_key 'nothing'"),
        (["generate", "shop_db", "--schema", ""], "--schema takes"),
        (["generate", "shop_db", "--sample", "0"], "--sample"),
        (["generate", "shop_db", "--out", "/dev/null"], "is not a file"),
        (["generate", "shop_db", "--out", "/nowhere/shop.yml"], "its folder is not there"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_and_nothing_is_looked_at(run, arguments, said):
    code, printed, told = run(*arguments)
    assert (code, printed) == (2, "")
    assert said in " ".join(told.replace("│", " ").split())


def test_a_store_that_cannot_be_opened_is_no_finding(run, monkeypatch):
    monkeypatch.setenv("CONNECTORY_DATABASE_URL", "nonsense://")
    code, printed, told = run("check", "shop_db")
    assert (code, printed) == (3, "")
    assert "CONNECTORY_DATABASE_URL" in told
