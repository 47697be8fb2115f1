"""The schema: the migrations give exactly the tables of `tables`, and nothing is loaded when there is nothing to do."""

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import bindparam, inspect, text

from connectory.scopes import SCOPES
from connectory.store import clients, schema
from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.engine import Store, open_store
from connectory.store.errors import SchemaUnknown
from connectory.store.listing import Filters, list_connections
from connectory.store.tables import metadata
from connectory.store.timestamps import UtcDateTime
from connectory.store.verdicts import Verdict, list_verdicts

_OUTSIDE_METADATA = re.compile("connections_search|ix_connections_key_form")
_UNREADABLE = pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")


def test_the_revision_that_is_asked_for_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", "connectory.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_a_blank_database_becomes_current_by_one_upgrade(blank_url):
    with open_store(blank_url) as store:
        assert schema.current_revision(store) is None
        assert not schema.is_usable(store)
        schema.upgrade(store)
        assert schema.current_revision(store) == schema.HEAD
        assert schema.is_usable(store)


@_UNREADABLE
def test_the_migrations_create_exactly_the_tables_of_the_metadata(store):
    def is_ours(name: str | None, kind: str, _parents: object) -> bool:
        # Not in the metadata: the search index, which is each database's own (FTS5's tables, pg_trgm's index), and the index on
        # an expression, which SQLAlchemy cannot read back from SQLite.
        return kind not in ("table", "index") or name is None or not _OUTSIDE_METADATA.search(name)

    options = {"include_name": is_ours, "compare_type": True, "compare_server_default": True}
    with store.read() as database:
        assert compare_metadata(MigrationContext.configure(database, opts=options), metadata) == []


def test_the_search_index_of_each_database_is_there(store):
    if store.dialect == "sqlite":
        query = "SELECT sql FROM sqlite_schema WHERE name = 'connections_search'"
    else:
        query = "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_connections_search'"
    with store.read() as database:
        assert "trigram" in (found := database.execute(text(query)).scalar_one()) or "gin_trgm_ops" in found


def test_upgrading_again_changes_nothing_and_does_not_wait_for_writers(store, store_url):
    with store.read() as database:
        before = database.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    with open_store(store_url) as other, other.write():
        schema.upgrade(store)
    with store.read() as database:
        assert database.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == before


def test_processes_that_upgrade_at_once_wait_for_each_other(blank_url):
    def upgrade(_: int) -> str | None:
        with open_store(blank_url) as store:
            schema.upgrade(store)
            return schema.current_revision(store)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(upgrade, range(6))) == [schema.HEAD] * 6


def upgrade_to(store: Store, revision: str) -> None:
    """What the release of that revision did."""
    config = Config()
    config.set_main_option("script_location", "connectory.store:migrations")
    with store.write() as database:
        config.attributes["connection"] = database
        command.upgrade(config, revision)


def test_tokens_survive_the_move_to_their_new_table(blank_url, now):
    later = now + timedelta(hours=1)
    with open_store(blank_url) as store:
        upgrade_to(store, "0001")
        with store.write() as database:
            client, _ = clients.create_client(database, name="c", scopes=["a"], now=now)
            stored = {"hash": sha256(b"the-token").hexdigest(), "client": client.id, "now": now, "later": later}
            database.execute(
                text("INSERT INTO tokens VALUES (:hash, :client, 'a b', :now, :later)").bindparams(
                    bindparam("now", type_=UtcDateTime), bindparam("later", type_=UtcDateTime)
                ),
                stored,
            )
        schema.upgrade(store)
        with store.write() as database:
            verified = clients.verify_token(database, "the-token", now=now)
            assert verified == (client.id, frozenset({"a", "b"}), later)
            clients.delete_client(database, client.id)
            assert clients.verify_token(database, "the-token", now=now) is None
            assert not inspect(database).has_table("tokens")


def test_a_root_client_that_has_every_scope_keeps_having_every_scope(blank_url, now):
    """And nobody else gets those that were added."""
    added = {"audit:read", "client:manage", "key:read"}
    every = set(SCOPES) - added
    with open_store(blank_url) as store:
        upgrade_to(store, "0004")
        with store.write() as database:
            for name, scopes in (("root", every), ("root", every - {"dataset:read"}), ("reporting", every)):
                clients.create_client(database, name=name, scopes=scopes, now=now)
        schema.upgrade(store)
        with store.read() as database:
            found = [(client.name, len(client.scopes & added)) for client in clients.list_clients(database)]
    assert sorted(found) == [("reporting", 0), ("root", 0), ("root", 3)]


def test_failures_of_before_are_found_by_their_code(blank_url, now):
    reports = {
        "failed": (False, '{"status":"failed","code":"timeout","steps":[]}'),
        "passed": (True, '{"status":"succeeded","code":null,"steps":[]}'),
        "untested": (None, None),
    }
    names = (
        "id, key, name, connection_type, system_type, distribution, access, disabled, created_at, updated_at, version, "
    )
    names += "secrets_version, search_text, last_test_succeeded, last_test_report"
    values = ":id, :id, :id, 'x', 'x', 'x', 'read', :no, :now, :now, 1, 0, '', :succeeded, :report"
    insert = text(f"INSERT INTO connections ({names}) VALUES ({values})")
    insert = insert.bindparams(bindparam("now", type_=UtcDateTime))
    with open_store(blank_url) as store:
        upgrade_to(store, "0007")
        with store.write() as database:
            for key, (succeeded, report) in reports.items():
                row = {"id": key, "no": False, "now": now, "succeeded": succeeded, "report": report}
                database.execute(insert, row)
        schema.upgrade(store)
        with store.read() as database:
            found = {row.key: row.last_failure_code for row in list_connections(database)[0]}
            timeouts, _ = list_connections(database, Filters(failure_codes=["timeout"]))
    assert found == {"failed": "timeout", "passed": None, "untested": None}
    assert [row.key for row in timeouts] == ["failed"]


@_UNREADABLE
def test_keys_and_indexes_of_every_table_have_the_names_of_the_metadata(store):
    with store.read() as database:
        found = inspect(database)
        for table in metadata.sorted_tables:
            foreign = {key["name"] for key in found.get_foreign_keys(table.name)}
            assert foreign == {str(key.name) for key in table.foreign_key_constraints}
            assert found.get_pk_constraint(table.name)["name"] == table.primary_key.name
            indexes = {index["name"] for index in found.get_indexes(table.name)}
            assert {str(index.name) for index in table.indexes} <= indexes


LATER = "9999"
ADD_A_COLUMN = "op.add_column('connections', sa.Column('colour', sa.Text))"
RENAME_A_COLUMN = "op.alter_column('connections', 'description', new_column_name='purpose')"


@pytest.fixture
def upgrade_as_later_release(monkeypatch, tmp_path):
    """Upgrade a store as a release would that has one more migration, which does `work`."""

    def upgrade(store: Store, work: str, compatible_since: str) -> None:
        migrations = tmp_path / "migrations"
        shutil.copytree(schema._MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
        migrations.joinpath("versions", f"rev_{LATER}_later.py").write_text(
            f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '{LATER}'\ndown_revision = '{schema.HEAD}'\n"
            f"compatible_since = '{compatible_since}'\n\n\ndef upgrade():\n    {work}\n"
        )
        with monkeypatch.context() as later:
            later.setattr(schema, "_MIGRATIONS", migrations)
            later.setattr(schema, "HEAD", LATER)
            schema.upgrade(store)
            assert schema.is_usable(store)

    return upgrade


def test_a_release_works_with_what_a_later_one_has_added(store, upgrade_as_later_release, now):
    with store.write() as database:
        save_connections(database, [SaveItem("before", "postgres", "database", "d")], now=now)
    upgrade_as_later_release(store, ADD_A_COLUMN, compatible_since=schema.HEAD)
    assert schema.is_usable(store)
    schema.upgrade(store)
    assert schema.current_revision(store) == LATER
    with store.write() as database:
        save_connections(database, [SaveItem("after", "postgres", "database", "d")], now=now)
    with store.read() as database:
        assert list_connections(database, Filters())[1] == 2


def test_a_database_that_a_later_release_has_changed_is_refused_and_left_alone(store, upgrade_as_later_release):
    upgrade_as_later_release(store, RENAME_A_COLUMN, compatible_since=LATER)
    for refusing in (schema.is_usable, schema.upgrade):
        with pytest.raises(
            SchemaUnknown, match=f"has schema {LATER}, .* run the release that upgraded the database, or"
        ):
            refusing(store)
    assert schema.current_revision(store) == LATER


def test_every_migration_says_since_which_release_its_tables_can_be_used():
    config = Config()
    config.set_main_option("script_location", "connectory.store:migrations")
    scripts = sorted(ScriptDirectory.from_config(config).walk_revisions(), key=lambda script: script.revision)
    assert [script.revision for script in scripts] == [f"{number:04}" for number in range(1, len(scripts) + 1)]
    since = [script.module.compatible_since for script in scripts if script.revision >= "0007"]
    assert since == sorted(since)
    assert all("0007" <= each <= schema.HEAD for each in since)


def test_an_upgrade_that_fails_leaves_nothing_behind(blank_url):
    with open_store(blank_url) as store:
        with store.write() as database:
            database.execute(text("CREATE TABLE key_ids (x TEXT)"))  # in the way of the last table
        with pytest.raises(Exception, match="key_ids"):
            schema.upgrade(store)
        assert schema.current_revision(store) is None
        with store.write() as database:
            database.execute(text("DROP TABLE key_ids"))
        schema.upgrade(store)
        assert schema.is_usable(store)


def test_without_the_right_to_create_extensions_only_the_index_is_missing(postgres, blank_postgres_url, now):
    """Search answers the same, by scanning."""
    database_name = blank_postgres_url.rsplit("/", 1)[1]
    postgres.execute("DROP ROLE IF EXISTS plain")
    postgres.create_role("plain", "plain")
    postgres.execute("GRANT ALL ON SCHEMA public TO plain", database=database_name)
    url = f"postgresql://plain:plain@{postgres.host}:{postgres.port}/{database_name}"
    with open_store(url) as store:
        schema.upgrade(store)
        assert schema.is_usable(store)
        with store.write() as database:
            assert (
                database.execute(text("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'")).scalar_one() == 0
            )
            save_connections(database, [SaveItem("orders_db", "postgres", "database", "d")], now=now)
        with store.read() as database:
            assert list_connections(database, Filters(search="DERS"))[1] == 1


def test_a_current_database_is_opened_and_checked_without_alembic(store_url):
    script = (
        "import sys\n"
        "from connectory.store import schema\n"
        "from connectory.store.engine import open_store\n"
        "store = open_store(sys.stdin.read())\n"
        "assert schema.is_usable(store)\n"
        "schema.upgrade(store)\n"
        "print(sorted(name for name in ('alembic', 'psycopg2', 'sqlalchemy.orm', 'fastapi') if name in sys.modules))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], input=store_url, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert loaded == ("[]" if store_url.startswith("sqlite") else "['psycopg2']")


def test_tests_of_before_have_a_line_in_the_history(blank_url, now):
    report = '{"status":"failed","code":"timeout","steps":[],"elapsed_ms":12.5}'
    names = (
        "id, key, name, connection_type, system_type, distribution, access, disabled, created_at, updated_at, version, "
        "secrets_version, search_text"
    )
    connection = text(
        f"INSERT INTO connections ({names}) VALUES ('c', 'c', 'c', 'x', 'x', 'x', 'read', :no, :now, :now, 1, 3, '')"
    )
    test = text("INSERT INTO connection_tests VALUES ('c', :number, :now, 'backoffice', 3, :succeeded, :report)")
    rows = [
        {"number": 7, "succeeded": False, "report": report},
        {"number": 8, "succeeded": True, "report": '{"status":"succeeded","code":null,"steps":[]}'},
    ]
    at = bindparam("now", type_=UtcDateTime)
    with open_store(blank_url) as store:
        upgrade_to(store, "0010")
        with store.write() as database:
            database.execute(connection.bindparams(at), {"no": False, "now": now})
            database.execute(test.bindparams(at), [row | {"now": now} for row in rows])
        schema.upgrade(store)
        with store.read() as database:
            found, total = list_verdicts(database, "c")
    assert total == 2
    assert found == [
        Verdict("test", "", now, "backoffice", 3, "succeeded"),
        Verdict("test", "", now, "backoffice", 3, "failed", "timeout", 12.5),
    ]
