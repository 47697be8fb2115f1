"""What a PostgreSQL database holds, how it is read, and who may write: against a real server."""

import secrets as random
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from connectory import CheckFailed, FailureCode
from connectory.data import (
    CollectionRef,
    DataFailure,
    DataSession,
    FieldInfo,
    ForeignKey,
    Kind,
    Privileges,
    Read,
    SessionFailed,
)
from connectory.testing import Workbench, load_connector
from connectory_postgres import Postgres
from connectory_sql import postgresql
from servers.postgres.server import PostgresServer
from testkit.held_tables import Held, double_quoted
from testkit.sessions import among, found, opened, read_and_kill, rows

SHOP = """
CREATE SCHEMA shop;
CREATE SCHEMA "Old Stock";
CREATE DOMAIN shop.text AS varchar(90) NOT NULL;
CREATE DOMAIN shop.address AS shop.text;
CREATE DOMAIN shop.email AS shop.address;
CREATE DOMAIN shop.amount AS integer;
CREATE TYPE shop.mood AS ENUM ('glad', 'sad');
CREATE TABLE shop.customer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email shop.email UNIQUE, name varchar(40), code char(3), note text,
  born date, seen timestamptz, at timestamp, score numeric(8, 2), rate float8, active boolean, token uuid, picture bytea,
  mood shop.mood, extra jsonb, tags text[], numbers integer[], tokens uuid[], pause interval, home inet,
  full_name text GENERATED ALWAYS AS (name || code) STORED
);
CREATE TABLE shop.region (country char(2), number integer, PRIMARY KEY (number, country));
CREATE TABLE shop.visit (
  id integer PRIMARY KEY, customer_id bigint REFERENCES shop.customer ON DELETE CASCADE, c char(2), n integer,
  before_id integer REFERENCES shop.visit DEFERRABLE, FOREIGN KEY (c, n) REFERENCES shop.region (country, number)
);
CREATE INDEX ON shop.visit (c, n);
CREATE TABLE shop.chicken (id integer PRIMARY KEY, egg_id integer);
CREATE TABLE shop.egg (id integer PRIMARY KEY, chicken_id integer REFERENCES shop.chicken ON DELETE SET NULL);
ALTER TABLE shop.chicken ADD FOREIGN KEY (egg_id) REFERENCES shop.egg;
CREATE TABLE shop.audit (id integer, year integer, PRIMARY KEY (id, year)) PARTITION BY LIST (year);
CREATE TABLE shop.audit_2025 PARTITION OF shop.audit FOR VALUES IN (2025);
CREATE TABLE shop.audit_note (id integer, audit_id integer, year integer, FOREIGN KEY (audit_id, year) REFERENCES shop.audit);
CREATE TABLE shop.note_of_2025 (id integer, year integer, FOREIGN KEY (id, year) REFERENCES shop.audit_2025);
CREATE TABLE shop.special_visit (extra text, amounts shop.amount[]) INHERITS (shop.visit);
CREATE VIEW shop.seen AS SELECT id FROM shop.customer;
CREATE MATERIALIZED VIEW shop.counted AS SELECT count(*) FROM shop.customer;
CREATE TABLE shop.nothing ();
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON shop.region FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE TABLE "Old Stock"."we""ird.tå%ble (x)" (
  "Éd 1" integer PRIMARY KEY, "a""b" integer REFERENCES "Old Stock"."we""ird.tå%ble (x)", "%s :x" text, "order" integer);
INSERT INTO "Old Stock"."we""ird.tå%ble (x)" VALUES (1, 1, 'it''s 100% :y %s', 0), (2, NULL, NULL, 7);
INSERT INTO shop.customer (email, name, code, note, born, seen, at, score, rate, active, token, picture, mood, extra, tags,
  numbers, tokens, pause, home)
VALUES ('jane@shop.example', 'Jane', 'ch', '', '1980-02-29', '2026-01-02 03:04:05+02', '2026-01-02 03:04:05.678', 12.50, 0.5,
  false, '6ccd780c-baba-1026-9564-5b8c656024db', '\\x00ff', 'sad', '{"a": [1, null]}', '{a,NULL}', '{1,2}',
  '{6ccd780c-baba-1026-9564-5b8c656024db}', '1 day 2 hours', '10.0.0.1'), ('nobody@shop.example', NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO shop.region VALUES ('CH', 1), ('CH', 2), ('DE', 1), ('DE', 2);
INSERT INTO shop.visit VALUES (0, 1, 'CH', 2, NULL), (1, 1, 'DE', 1, 0);
"""
SCHEMA = {"schema": "shop"}


def shop(name: str) -> CollectionRef:
    return CollectionRef(name, SCHEMA)


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    name = f"held_{random.token_hex(4)}"
    postgres.create_database(name)
    postgres.execute(SHOP, database=name)
    return name


@pytest.fixture(scope="module")
def secrets(postgres: PostgresServer, database: str) -> dict[str, Any]:
    login = {"username": postgres.superuser, "password": postgres.password}
    return {"host": postgres.host, "port": postgres.port, "dbname": database} | login


@pytest.fixture
def session(secrets: dict[str, Any]) -> Iterator[DataSession]:
    with opened(Postgres(), secrets) as session:
        yield session


class TestDiscovery:
    def test_every_schema_but_the_servers_own_is_found_in_order(self, session: DataSession) -> None:
        first, second = list(session.discover()), list(session.discover())
        assert first == second
        places = [(one.ref.namespace["schema"], one.ref.name) for one in first]
        assert places == sorted(places)
        assert {schema for schema, _ in places} == {"shop", "Old Stock"}
        assert list(found(session, schema="Old Stock")) == ['we"ird.tå%ble (x)']

    def test_columns_have_types_lengths_and_rules(self, session: DataSession) -> None:
        fields = {field.path[0]: field for field in found(session, schema="shop")["customer"].fields}
        assert fields["id"] == FieldInfo(
            ("id",), Kind.INTEGER, "bigint", nullable=False, unique=True, generated=True, indexed=True
        )
        assert fields["email"] == FieldInfo(
            ("email",), Kind.STRING, "shop.email", nullable=False, max_length=90, unique=True, indexed=True
        )
        assert fields["name"] == FieldInfo(
            ("name",), Kind.STRING, "character varying(40)", nullable=True, max_length=40, indexed=False
        )
        assert fields["full_name"].generated
        kinds = {name: (field.kind, field.array) for name, field in fields.items()}
        assert kinds == {
            "id": (Kind.INTEGER, False),
            "email": (Kind.STRING, False),
            "name": (Kind.STRING, False),
            "code": (Kind.STRING, False),
            "note": (Kind.STRING, False),
            "born": (Kind.DATE, False),
            "seen": (Kind.TIMESTAMP, False),
            "at": (Kind.TIMESTAMP, False),
            "score": (Kind.DECIMAL, False),
            "rate": (Kind.FLOAT, False),
            "active": (Kind.BOOLEAN, False),
            "token": (Kind.UUID, False),
            "picture": (Kind.BYTES, False),
            "mood": (Kind.STRING, False),
            "extra": (Kind.ANY, False),
            "tags": (Kind.STRING, True),
            "numbers": (Kind.INTEGER, True),
            "tokens": (Kind.UUID, True),
            "pause": (Kind.STRING, False),
            "home": (Kind.STRING, False),
            "full_name": (Kind.STRING, False),
        }
        of_domain = found(session, schema="shop")["special_visit"].fields[-1]
        assert (of_domain.kind, of_domain.array) == (Kind.INTEGER, True)

    def test_keys_of_several_columns_keep_their_order(self, session: DataSession) -> None:
        collections = found(session, schema="shop")
        assert collections["region"].primary_key == (("number",), ("country",))
        assert not any(field.unique for field in collections["region"].fields)
        assert collections["region"].has_triggers
        assert not collections["visit"].has_triggers
        indexed = {field.path[0]: field.indexed for field in collections["visit"].fields}
        assert (indexed["c"], indexed["n"]) == (True, False)

    def test_foreign_keys_may_be_composite_cyclic_and_to_themselves(self, session: DataSession) -> None:
        collections = found(session, schema="shop")
        assert set(collections["visit"].foreign_keys) == {
            ForeignKey((("customer_id",),), shop("customer"), (("id",),), on_delete="cascade"),
            ForeignKey((("before_id",),), shop("visit"), (("id",),), deferrable=True),
            ForeignKey((("c",), ("n",)), shop("region"), (("country",), ("number",))),
        }
        assert collections["chicken"].foreign_keys == (ForeignKey((("egg_id",),), shop("egg"), (("id",),)),)
        [back] = collections["egg"].foreign_keys
        assert (back.target, back.on_delete) == (shop("chicken"), "set_null")
        [to_partitioned] = collections["audit_note"].foreign_keys
        assert to_partitioned.target == shop("audit")
        [to_partition] = collections["note_of_2025"].foreign_keys
        assert to_partition.target == shop("audit_2025")

    def test_what_is_not_for_use_is_left_out_with_the_reason(self, session: DataSession) -> None:
        collections = found(session, schema="shop")
        left_out = {name: one.left_out for name, one in collections.items() if one.left_out}
        assert left_out == {
            "audit_2025": "partition of audit",
            "seen": "view",
            "counted": "materialized view",
            "nothing": "table without columns",
        }
        assert collections["audit"].fields
        assert collections["special_visit"].fields

    def test_what_the_account_may_not_read_is_left_out(
        self, postgres: PostgresServer, database: str, secrets: dict[str, Any], role: str
    ) -> None:
        postgres.execute(f"GRANT USAGE ON SCHEMA shop TO {role}", database=database)
        postgres.execute(f"GRANT SELECT (id) ON shop.customer TO {role}", database=database)
        with opened(Postgres(), secrets | {"username": role, "password": role}) as session:
            collections = found(session)
            assert collections["customer"].left_out is None
            assert collections["region"].left_out == "the account may not read it"
            assert rows(session, shop("customer"), "id") == [(1,), (2,)]
            for denied in ("email", "region"):
                ref, field = (shop("customer"), "email") if denied == "email" else (shop("region"), "number")
                with pytest.raises(SessionFailed) as refused:
                    rows(session, ref, field)
                assert refused.value.code is FailureCode.PERMISSION_DENIED

    def test_names_are_kept_as_they_are(self, session: DataSession) -> None:
        [table] = session.discover({"schema": "Old Stock"})
        assert [field.path[0] for field in table.fields] == ["Éd 1", 'a"b', "%s :x", "order"]
        assert table.foreign_keys == (ForeignKey((('a"b',),), table.ref, (("Éd 1",),)),)

    def test_a_connection_for_one_schema_holds_that_one(self, secrets: dict[str, Any]) -> None:
        with opened(Postgres(), secrets | {"db_schema": "Old Stock"}) as session:
            assert len(list(session.discover())) == 1


class TestReading:
    def test_values_are_of_their_kinds(self, session: DataSession) -> None:
        names = [field.path[0] for field in found(session, schema="shop")["customer"].fields]
        query = Read(shop("customer"), tuple((name,) for name in names), (among("id", values=[(1,)]),))
        [batch] = session.read(query, 10)
        kinds = {field.path[0]: field.kind for field in found(session, schema="shop")["customer"].fields}
        assert dict(zip(names, batch.kinds, strict=True)) == kinds
        token = UUID("6ccd780c-baba-1026-9564-5b8c656024db")
        seen = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
        assert dict(zip(names, batch.rows[0], strict=True)) == {
            "id": 1,
            "email": "jane@shop.example",
            "name": "Jane",
            "code": "ch ",
            "note": "",
            "born": date(1980, 2, 29),
            "seen": seen,
            "at": datetime(2026, 1, 2, 3, 4, 5, 678000),  # noqa: DTZ001  # as it is stored
            "score": Decimal("12.50"),
            "rate": 0.5,
            "active": False,
            "token": token,
            "picture": b"\x00\xff",
            "mood": "sad",
            "extra": {"a": [1, None]},
            "tags": ["a", None],
            "numbers": [1, 2],
            "tokens": [token],
            "pause": "1 day, 2:00:00",
            "home": "10.0.0.1",
            "full_name": "Janech",
        }

    def test_awkward_names_and_values_go_through(self, session: DataSession) -> None:
        [table] = session.discover({"schema": "Old Stock"})
        mine = among("%s :x", values=[("it's 100% :y %s",)])
        assert rows(session, table.ref, "Éd 1", "%s :x", any_of=(mine,)) == [(1, "it's 100% :y %s")]
        assert rows(session, table.ref, 'a"b', "order", any_of=(among("Éd 1", values=[(2,)]),)) == [(None, 7)]

    def test_rows_match_whole_and_null_matches_nothing(self, session: DataSession) -> None:
        some = among("country", "number", values=[("CH", 2), ("DE", 1), ("FR", None)])
        assert rows(session, shop("region"), "country", "number", any_of=(some,)) == [("CH", 2), ("DE", 1)]
        either = (among("number", values=[(2,)]), among("country", values=[("DE",)]))
        assert len(rows(session, shop("region"), "number", any_of=either)) == 3
        assert rows(session, shop("visit"), "id", any_of=(among("id", values=[(0,)]),)) == [(0,)]
        assert rows(session, shop("visit"), "id", any_of=(among("before_id", values=[(None,)]),)) == []
        assert rows(session, shop("visit"), "id", any_of=(among("id", values=[]),)) == []

    @pytest.mark.parametrize(
        ("name", "field", "value", "code"),
        [
            ("nowhere", "id", 1, DataFailure.COLLECTION_MISSING),
            ("visit", "nothing", 1, DataFailure.FIELD_MISSING),
            ("visit", "id", "marker-3f", DataFailure.VALUE_REJECTED),
            ("customer", "note", 1, DataFailure.VALUE_REJECTED),
            ("customer", "note", "marker\0", DataFailure.VALUE_REJECTED),
        ],
    )
    def test_what_goes_wrong_is_told_by_its_code_and_the_session_lives_on(
        self, session: DataSession, name: str, field: str, value: Any, code: DataFailure
    ) -> None:
        with pytest.raises(SessionFailed) as refused:
            rows(session, shop(name), field, any_of=(among(field, values=[(value,)]),))
        assert refused.value.code is code
        assert "marker" not in str(refused.value)
        assert rows(session, shop("visit"), "id") == [(0,), (1,)]

    def test_rows_come_in_batches_that_their_weight_bounds(
        self, session: DataSession, postgres: PostgresServer, database: str
    ) -> None:
        statement = "CREATE TABLE shop.heavy AS SELECT i, repeat('x', 100000) AS t FROM generate_series(1, 200) i"
        postgres.execute(statement, database=database)
        try:
            batches = list(session.read(Read(shop("heavy"), (("i",), ("t",))), 2000))
            assert sum(len(batch.rows) for batch in batches) == 200
            assert max(len(batch.rows) for batch in batches[1:]) <= 11
        finally:
            postgres.execute("DROP TABLE shop.heavy", database=database)

    def test_a_read_that_is_given_up_leaves_nothing_open(self, session: DataSession) -> None:
        reading = session.read(Read(shop("region"), (("number",),)), 1)
        next(reading)
        reading.close()
        assert len(rows(session, shop("region"), "number")) == 4

    def test_nothing_is_left_running_where_the_process_was_killed(
        self, secrets: dict[str, Any], postgres: PostgresServer, database: str, workbench: Workbench
    ) -> None:
        postgres.execute("CREATE VIEW shop.silent AS SELECT pg_sleep(60)::text AS s", database=database)
        running = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state = 'active'"
        connector = load_connector("postgres", "connectory-postgres")
        query = Read(shop("silent"), (("s",),))
        try:
            read_and_kill(workbench, connector, secrets, query, lambda: postgres.execute(running, database) != [(0,)])
        finally:
            postgres.execute("DROP VIEW shop.silent", database=database)

    def test_a_server_that_does_not_notice_is_told_what_to_end(
        self, secrets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgresql, "_NOTICES_SINCE", 99_00_00)
        with opened(Postgres(), secrets) as one, opened(Postgres(), secrets) as other:
            process, _, since = one._context.login.partition(" ")
            other.end_login(f"{process} {since}9")
            assert one._database.rows("SELECT 1") == [(1,)]
            other.end_login(one._context.login)
            with pytest.raises(psycopg2.Error):
                one._database.rows("SELECT 1")

    def test_a_statement_ends_with_the_time_of_its_operation(
        self, secrets: dict[str, Any], postgres: PostgresServer, database: str
    ) -> None:
        postgres.execute("CREATE VIEW shop.slow AS SELECT pg_sleep(30)::text AS s", database=database)
        try:
            with opened(Postgres(), secrets, timeout=1.3) as session, pytest.raises(SessionFailed) as ended:
                rows(session, shop("slow"), "s")
            assert ended.value.code is FailureCode.TIMEOUT
        finally:
            postgres.execute("DROP VIEW shop.slow", database=database)


def test_a_login_that_fails_says_why(secrets: dict[str, Any]) -> None:
    for change, code in (
        ({"password": "wrong"}, FailureCode.AUTH_FAILED),
        ({"dbname": "nowhere"}, FailureCode.DATABASE_NOT_FOUND),
    ):
        with pytest.raises(CheckFailed) as failed, opened(Postgres(), secrets | change):
            pass
        assert failed.value.code is code


def test_a_connection_for_reading_writes_nothing(secrets: dict[str, Any]) -> None:
    with opened(Postgres(), secrets) as session, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        session._database.run("DELETE FROM shop.visit")


@pytest.fixture
def role(postgres: PostgresServer, database: str) -> Iterator[str]:
    name = f"role_{random.token_hex(4)}"
    postgres.create_role(name, name)
    yield name
    postgres.execute(f"DROP OWNED BY {name}", database=database)
    postgres.execute(f"DROP ROLE {name}")


class TestPrivileges:
    @pytest.fixture
    def of(self, secrets: dict[str, Any], role: str) -> Callable[..., Privileges]:
        """What the role may do with the table."""

        def of(name: str = "visit", **login: str) -> Privileges:
            mine = secrets | ({"username": role, "password": role} | login)
            with opened(Postgres(), mine) as session:
                [known] = session.privileges([shop(name)])
            assert known.ref == shop(name)
            return known

        return of

    @pytest.fixture
    def run(self, postgres: PostgresServer, database: str, role: str) -> Callable[[str], None]:
        def run(statement: str) -> None:
            postgres.execute(statement.replace("$role", role), database=database)

        run("GRANT USAGE ON SCHEMA shop TO $role")
        return run

    def test_a_superuser_may_do_anything(self, of: Callable[..., Privileges], postgres: PostgresServer) -> None:
        known = of(username=postgres.superuser, password=postgres.password)
        assert (known.read, known.update, known.delete) == (True, True, True)
        assert known.remedy == 'ALTER ROLE "postgres" NOSUPERUSER;'

    def test_a_reader_may_only_read(self, of: Callable[..., Privileges], run: Callable[[str], None]) -> None:
        run("GRANT SELECT ON shop.visit TO $role")
        assert of() == Privileges(shop("visit"), read=True, update=False, delete=False)
        assert of("region") == Privileges(shop("region"), read=False, update=False, delete=False)

    @pytest.mark.parametrize(
        ("right", "update", "delete"),
        [
            ("INSERT", True, False),
            ("UPDATE", True, False),
            ("UPDATE (c, n)", True, False),
            ("DELETE", False, True),
            ("TRUNCATE", False, True),
        ],
    )
    def test_each_right_to_write_counts_and_can_be_taken_away(
        self, of: Callable[..., Privileges], run: Callable[[str], None], right: str, update: bool, delete: bool
    ) -> None:
        run(f"GRANT {right} ON shop.visit TO $role")
        known = of()
        assert (known.update, known.delete) == (update, delete)
        run(known.remedy)
        assert of() == Privileges(shop("visit"), read=False, update=False, delete=False)

    def test_an_owner_may_write_even_where_it_was_revoked(
        self, of: Callable[..., Privileges], run: Callable[[str], None]
    ) -> None:
        run("CREATE TABLE shop.mine (id integer)")
        run("ALTER TABLE shop.mine OWNER TO $role")
        run("REVOKE UPDATE, DELETE, TRUNCATE ON shop.mine FROM $role")
        known = of("mine")
        assert (known.update, known.delete) == (True, True)
        run(known.remedy)
        assert of("mine") == Privileges(shop("mine"), read=True, update=False, delete=False)

    @pytest.mark.parametrize(
        "granted",
        [
            ("ALTER ROLE $role_writers SUPERUSER",),
            ("GRANT pg_write_all_data TO $role_writers",),
            ("CREATE ROLE $role_owners", "GRANT $role_owners TO $role_writers", "ALTER TABLE shop.region OWNER TO $role_owners"),
            ("GRANT USAGE ON SCHEMA shop TO $role_writers", "GRANT UPDATE ON shop.region TO $role_writers WITH GRANT OPTION",
             "SET ROLE $role_writers; GRANT UPDATE ON shop.region TO $role; RESET ROLE", "REVOKE $role_writers FROM $role"),
        ],
        ids=["superuser", "writes everything", "owner", "granted by another"],
    )  # fmt: skip
    def test_what_a_role_within_a_role_may_is_taken_away(
        self, of: Callable[..., Privileges], run: Callable[[str], None], granted: tuple[str, ...]
    ) -> None:
        for statement in ("CREATE ROLE $role_writers", "GRANT $role_writers TO $role", *granted):
            run(statement)
        known = of("region")
        assert known.update is True
        run(known.remedy)
        after = of("region")
        assert (after.update, after.delete, after.remedy) == (False, False, "")
        run("ALTER TABLE shop.region OWNER TO CURRENT_USER")
        run("DROP OWNED BY $role_writers; DROP ROLE $role_writers; DROP ROLE IF EXISTS $role_owners")

    def test_a_view_counts_where_somebody_else_owns_it_and_it_takes_rows(
        self, of: Callable[..., Privileges], run: Callable[[str], None]
    ) -> None:
        run("CREATE VIEW shop.written AS SELECT * FROM shop.region; GRANT ALL ON shop.written, shop.counted TO $role")
        known = of("written")
        assert (known.update, known.delete) == (True, True)
        run(known.remedy)
        assert (of("written").update, of("counted").update) == (False, False)
        run("ALTER VIEW shop.written OWNER TO $role")
        assert of("written").update is False

    @pytest.mark.parametrize("inherits", ["INHERIT", "NOINHERIT"])
    def test_a_role_that_it_may_take_on_counts(
        self, of: Callable[..., Privileges], run: Callable[[str], None], role: str, inherits: str
    ) -> None:
        run("CREATE ROLE $role_writers")
        try:
            run("GRANT UPDATE ON shop.visit TO $role_writers")
            run(f"ALTER ROLE $role {inherits}")
            run("GRANT $role_writers TO $role")
            known = of()
            assert (known.update, known.delete) == (True, False)
            assert known.remedy == f'REVOKE UPDATE ON "shop"."visit" FROM "{role}_writers";'
            run(known.remedy)
            assert of().update is False
        finally:
            run("DROP OWNED BY $role_writers")
            run("DROP ROLE $role_writers")

    def test_rights_of_everybody_count(self, of: Callable[..., Privileges], run: Callable[[str], None]) -> None:
        run('GRANT DELETE ON "shop".region TO PUBLIC')
        known = of("region")
        assert (known.delete, known.remedy) == (True, 'REVOKE DELETE ON "shop"."region" FROM PUBLIC;')
        run(known.remedy)
        assert of("region").delete is False

    def test_a_role_that_writes_everything_counts(
        self, of: Callable[..., Privileges], run: Callable[[str], None], role: str
    ) -> None:
        run("GRANT pg_write_all_data TO $role")
        assert of().remedy == f'REVOKE "pg_write_all_data" FROM "{role}";'

    def test_whether_filtered_rows_are_all_rows_is_unknown(
        self, of: Callable[..., Privileges], run: Callable[[str], None]
    ) -> None:
        run("CREATE TABLE shop.filtered (id integer)")
        run("GRANT SELECT ON shop.filtered TO $role")
        assert of("filtered").read is True
        run("ALTER TABLE shop.filtered ENABLE ROW LEVEL SECURITY")
        assert of("filtered").read is None
        run("DROP TABLE shop.filtered")

    def test_what_is_not_there_is_unknown(self, of: Callable[..., Privileges]) -> None:
        assert of("nowhere") == Privileges(shop("nowhere"), None, None, None)


def test_the_same_tables_make_the_same_datasets_as_elsewhere(postgres: PostgresServer, secrets: dict[str, Any]) -> None:
    held = Held(double_quoted, "One é", "TWO")
    name = f"held_{random.token_hex(4)}"
    postgres.create_database(name)
    for statement in ('CREATE SCHEMA "One é"', 'CREATE SCHEMA "TWO"', *held.statements()):
        postgres.execute(statement, database=name)
    with opened(Postgres(), secrets | {"dbname": name}) as session:
        held.require_found(session)
