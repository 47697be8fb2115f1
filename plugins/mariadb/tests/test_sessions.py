"""What a MariaDB database holds, how it is read, and who may write: against a real server."""

import re
import secrets as random
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pymysql
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
from connectory_mariadb import MariaDB
from servers.mariadb.server import MariaDBServer
from testkit.held_tables import Held, backquoted
from testkit.sessions import among, found, opened, read_and_kill, rows

SHOP = """
CREATE TABLE customer (
  id bigint unsigned PRIMARY KEY AUTO_INCREMENT, email varchar(90) NOT NULL UNIQUE, code char(3), note text, born date,
  seen timestamp(3) NULL, at datetime, score decimal(8,2), rate double, active tinyint(1), flags bit(4), picture blob,
  fixed binary(2), mood enum('glad','sad'), extra json, pause time, y year, full_name varchar(50) AS (upper(email)) STORED)
CREATE TABLE region (country char(2), number int, PRIMARY KEY (number, country))
CREATE TABLE visit (id int PRIMARY KEY, customer_id bigint unsigned, c char(2), n int, before_id int,
  FOREIGN KEY (customer_id) REFERENCES customer (id) ON DELETE CASCADE, FOREIGN KEY (n, c) REFERENCES region (number, country),
  FOREIGN KEY (before_id) REFERENCES visit (id) ON DELETE SET NULL)
CREATE TABLE chicken (id int PRIMARY KEY, egg_id int)
CREATE TABLE egg (id int PRIMARY KEY, chicken_id int, FOREIGN KEY (chicken_id) REFERENCES chicken (id))
ALTER TABLE chicken ADD FOREIGN KEY (egg_id) REFERENCES egg (id)
CREATE TABLE `we``ird.tå%ble (x)` (`Éd 1` int PRIMARY KEY, `a"b``` int, `%s :x` varchar(40), `order` int,
  FOREIGN KEY (`a"b```) REFERENCES `we``ird.tå%ble (x)` (`Éd 1`))
CREATE TABLE history (id int) WITH SYSTEM VERSIONING
CREATE TABLE parts (id int) PARTITION BY HASH (id) PARTITIONS 3
CREATE VIEW seen AS SELECT id FROM customer
CREATE SEQUENCE numbers
CREATE TABLE other.far (id int PRIMARY KEY)
CREATE TABLE near (far_id int, FOREIGN KEY (far_id) REFERENCES other.far (id))
CREATE TRIGGER touched BEFORE UPDATE ON region FOR EACH ROW SET NEW.country = NEW.country
INSERT INTO customer (email, code, note, born, seen, at, score, rate, active, flags, picture, fixed, mood, extra, pause, y) VALUES
  ('jane@shop.example', 'ch', '', '1980-02-29', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05', 12.5, 0.5, 0, b'0101',
  x'00ff', x'6100', 'sad', '{"a": 1}', '26:00:00', 1999)
INSERT INTO region VALUES ('CH', 1), ('CH', 2), ('DE', 1), ('DE', 2)
INSERT INTO visit VALUES (0, 1, 'CH', 2, NULL), (1, 1, 'DE', 1, 0)
INSERT INTO `we``ird.tå%ble (x)` VALUES (1, 1, 'it''s 100% :y %s', 0), (2, NULL, NULL, 7)
"""


@pytest.fixture(scope="module")
def shop(mariadb: MariaDBServer) -> str:
    name = f"shop-{random.token_hex(4)}"
    mariadb.create_database(name)
    mariadb.create_database(f"{name}-other")
    for statement in re.split(r"\n(?=[A-Z]+ )", SHOP.strip().replace("other.far", f"`{name}-other`.far")):
        mariadb.execute(statement, database=name)
    return name


@pytest.fixture(scope="module")
def secrets(mariadb: MariaDBServer, shop: str) -> dict[str, Any]:
    login = {"username": mariadb.superuser, "password": mariadb.password}
    return {"host": mariadb.host, "port": mariadb.port, "dbname": shop} | login


@pytest.fixture
def session(secrets: dict[str, Any]) -> Iterator[DataSession]:
    with opened(MariaDB(), secrets) as session:
        yield session


def of(database: str, name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": database})


class TestDiscovery:
    def test_columns_have_types_lengths_and_rules(self, session: DataSession) -> None:
        fields = {field.path[0]: field for field in found(session)["customer"].fields}
        assert fields["id"] == FieldInfo(
            ("id",), Kind.INTEGER, "bigint(20) unsigned", nullable=False, unique=True, indexed=True
        )
        assert fields["email"] == FieldInfo(
            ("email",), Kind.STRING, "varchar(90)", nullable=False, max_length=90, unique=True, indexed=True
        )
        assert fields["full_name"].generated
        assert fields["note"].max_length is None
        assert {name: field.kind.value for name, field in fields.items()} == {
            "id": "integer",
            "email": "string",
            "code": "string",
            "note": "string",
            "born": "date",
            "seen": "timestamp",
            "at": "timestamp",
            "score": "decimal",
            "rate": "float",
            "active": "integer",
            "flags": "bytes",
            "picture": "bytes",
            "fixed": "bytes",
            "mood": "string",
            "extra": "string",
            "pause": "string",
            "y": "integer",
            "full_name": "string",
        }

    def test_keys_may_be_composite_cyclic_and_to_themselves(self, session: DataSession, shop: str) -> None:
        first, second = list(session.discover()), list(session.discover())
        assert first == second
        collections = found(session)
        assert collections["region"].primary_key == (("number",), ("country",))
        assert collections["region"].has_triggers
        assert set(collections["visit"].foreign_keys) == {
            ForeignKey((("customer_id",),), of(shop, "customer"), (("id",),), on_delete="cascade"),
            ForeignKey((("before_id",),), of(shop, "visit"), (("id",),), on_delete="set_null"),
            ForeignKey((("n",), ("c",)), of(shop, "region"), (("number",), ("country",))),
        }
        assert collections["chicken"].foreign_keys[0].target == of(shop, "egg")
        assert collections["egg"].foreign_keys[0].target == of(shop, "chicken")
        assert collections["near"].foreign_keys[0].target == of(f"{shop}-other", "far")
        indexed = {field.path[0]: field.indexed for field in collections["visit"].fields}
        assert (indexed["n"], indexed["c"]) == (True, False)

    def test_names_are_kept_as_they_are(self, session: DataSession) -> None:
        table = found(session)["we`ird.tå%ble (x)"]
        assert [field.path[0] for field in table.fields] == ["Éd 1", 'a"b`', "%s :x", "order"]
        assert table.foreign_keys == (ForeignKey((('a"b`',),), table.ref, (("Éd 1",),)),)

    def test_what_is_not_for_use_is_left_out_with_the_reason(self, session: DataSession) -> None:
        collections = found(session)
        assert {name: one.left_out for name, one in collections.items() if one.left_out} == {"seen": "view"}
        assert {"history", "parts"} <= set(collections)
        assert "numbers" not in collections

    def test_another_database_is_another_namespace(self, session: DataSession, shop: str) -> None:
        assert list(found(session, schema=f"{shop}-other")) == ["far"]
        assert list(found(session, schema="nowhere")) == []


class TestReading:
    def test_values_are_of_their_kinds(self, session: DataSession, shop: str) -> None:
        fields = found(session)["customer"].fields
        [batch] = session.read(Read(of(shop, "customer"), tuple(field.path for field in fields)), 10)
        assert batch.kinds == tuple(field.kind for field in fields)
        assert batch.rows == [
            (
                1,
                "jane@shop.example",
                "ch",
                "",
                date(1980, 2, 29),
                datetime(2026, 1, 2, 3, 4, 5, 678000),  # noqa: DTZ001  # as it is stored
                datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001
                Decimal("12.50"),
                0.5,
                0,
                b"\x05",
                b"\x00\xff",
                b"a\x00",
                "sad",
                '{"a": 1}',
                "1 day, 2:00:00",
                1999,
                "JANE@SHOP.EXAMPLE",
            )
        ]

    def test_awkward_names_and_values_go_through(self, session: DataSession, shop: str) -> None:
        weird = of(shop, "we`ird.tå%ble (x)")
        mine = among("%s :x", values=[("it's 100% :y %s",)])
        assert rows(session, weird, "Éd 1", "%s :x", any_of=(mine,)) == [(1, "it's 100% :y %s")]
        assert rows(session, weird, 'a"b`', "order", any_of=(among("Éd 1", values=[(2,)]),)) == [(None, 7)]
        assert rows(session, weird, "order", any_of=(among("%s :x", values=[("' OR 1=1 -- \\",)]),)) == []

    def test_rows_match_whole_and_null_matches_nothing(self, session: DataSession, shop: str) -> None:
        some = among("country", "number", values=[("CH", 2), ("DE", 1), ("FR", None)])
        assert rows(session, of(shop, "region"), "country", "number", any_of=(some,)) == [("CH", 2), ("DE", 1)]
        assert rows(session, of(shop, "visit"), "id", any_of=(among("before_id", values=[(None,)]),)) == []

    def test_a_read_that_is_given_up_reads_no_further(
        self, session: DataSession, shop: str, mariadb: MariaDBServer
    ) -> None:
        numbers = of(shop, "many")
        mariadb.execute("CREATE VIEW many AS SELECT seq FROM seq_1_to_1000000000", database=shop)
        reading = session.read(Read(numbers, (("seq",),)), 10)
        assert len(next(reading).rows) == 10
        reading.close()
        assert rows(session, of(shop, "visit"), "id") == [(0,), (1,)]

    @pytest.mark.parametrize(
        ("name", "field", "code"),
        [("nowhere", "id", DataFailure.COLLECTION_MISSING), ("visit", "nothing", DataFailure.FIELD_MISSING)],
    )
    def test_what_goes_wrong_is_told_by_its_code(
        self, session: DataSession, shop: str, name: str, field: str, code: DataFailure
    ) -> None:
        with pytest.raises(SessionFailed) as refused:
            rows(session, of(shop, name), field)
        assert refused.value.code is code

    def test_a_statement_ends_with_the_time_of_its_operation(
        self, secrets: dict[str, Any], shop: str, mariadb: MariaDBServer
    ) -> None:
        mariadb.execute("CREATE VIEW slow AS SELECT sleep(30) AS s", database=shop)
        with opened(MariaDB(), secrets, timeout=1.4) as session, pytest.raises(SessionFailed) as ended:
            rows(session, of(shop, "slow"), "s")
        assert ended.value.code is FailureCode.TIMEOUT


class TestItsEnd:
    def test_nothing_is_left_running_where_the_process_was_killed(
        self, secrets: dict[str, Any], shop: str, mariadb: MariaDBServer, workbench: Workbench
    ) -> None:
        mariadb.execute(
            "CREATE VIEW silent AS SELECT sum(a.seq & b.seq) AS s FROM seq_1_to_100000 a, seq_1_to_100000 b",
            database=shop,
        )
        running = "SELECT count(*) FROM information_schema.processlist WHERE db = %s AND info LIKE '%%silent%%'"
        connector = load_connector("mariadb", "connectory-mariadb")
        query = Read(of(shop, "silent"), (("s",),))
        read_and_kill(workbench, connector, secrets, query, lambda: mariadb.execute(running, shop) != [(0,)])

    def test_a_long_answer_is_not_cut_while_rows_come(
        self, secrets: dict[str, Any], shop: str, mariadb: MariaDBServer
    ) -> None:
        mariadb.execute("CREATE VIEW steady AS SELECT seq + sleep(0.05) AS s FROM seq_1_to_20", database=shop)
        with opened(MariaDB(), secrets, timeout=1.3, in_all=30) as session:
            assert len(rows(session, of(shop, "steady"), "s")) == 20

    def test_only_a_login_at_the_same_server_is_ended(self, secrets: dict[str, Any]) -> None:
        with opened(MariaDB(), secrets) as one, opened(MariaDB(), secrets) as other:
            number, _, server = one._context.login.partition("@")
            assert server
            other.end_login(f"{number}@another-server")
            other.end_login(f"999999999@{server}")
            assert one._database.rows("SELECT 1") == [(1,)]
            other.end_login(one._context.login)
            with pytest.raises(pymysql.Error):
                one._database.rows("SELECT 1")


def test_a_login_that_fails_says_why(secrets: dict[str, Any]) -> None:
    for change, code in (
        ({"password": "wrong"}, FailureCode.AUTH_FAILED),
        ({"dbname": "nowhere"}, FailureCode.DATABASE_NOT_FOUND),
    ):
        with pytest.raises(CheckFailed) as failed, opened(MariaDB(), secrets | change):
            pass
        assert failed.value.code is code


def test_a_connection_for_reading_writes_nothing(secrets: dict[str, Any]) -> None:
    with opened(MariaDB(), secrets) as session, pytest.raises(pymysql.Error, match="READ ONLY"):
        session._database.run("DELETE FROM visit")


class TestPrivileges:
    @pytest.fixture
    def user(self, mariadb: MariaDBServer) -> str:
        name = f"user_{random.token_hex(4)}"
        mariadb.create_user(name, name)
        return name

    @pytest.fixture
    def known(self, secrets: dict[str, Any], user: str, shop: str) -> Callable[..., Privileges]:
        def known(name: str = "visit", **login: str) -> Privileges:
            with opened(MariaDB(), secrets | ({"username": user, "password": user} | login)) as session:
                [known] = session.privileges([of(shop, name)])
            return known

        return known

    @pytest.fixture
    def run(self, mariadb: MariaDBServer, shop: str, user: str) -> Callable[[str], None]:
        def run(statement: str) -> None:
            mariadb.execute(statement.replace("$user", f"{user}@'%'").replace("$shop", f"`{shop}`"))

        run("GRANT SELECT ON $shop.* TO $user")
        return run

    def test_a_superuser_may_do_anything(
        self, known: Callable[..., Privileges], mariadb: MariaDBServer, run: Any
    ) -> None:
        mine = known(username=mariadb.superuser, password=mariadb.password)
        assert (mine.read, mine.update, mine.delete) == (True, True, True)
        assert mine.remedy.startswith("REVOKE INSERT, UPDATE, DELETE, DROP ON *.* FROM ")

    def test_a_reader_may_only_read(
        self, known: Callable[..., Privileges], run: Callable[[str], None], shop: str
    ) -> None:
        assert known() == Privileges(of(shop, "visit"), read=True, update=False, delete=False)

    @pytest.mark.parametrize(
        ("right", "update", "delete"),
        [
            ("INSERT ON $shop.visit", True, False),
            ("UPDATE ON $shop.*", True, False),
            ("UPDATE (c, n) ON $shop.visit", True, False),
            ("DELETE, ALTER ON $shop.*", False, True),
            ("DROP ON *.*", False, True),
            ("ALL PRIVILEGES ON `shop-%`.*", True, True),
        ],
    )
    def test_each_right_to_write_counts_and_can_be_taken_away(
        self, known: Callable[..., Privileges], run: Callable[[str], None], right: str, update: bool, delete: bool
    ) -> None:
        run(f"GRANT {right} TO $user")
        mine = known()
        assert (mine.update, mine.delete) == (update, delete)
        for statement in mine.remedy.split("; "):
            run(statement)
        mine = known()
        assert (mine.update, mine.delete, mine.remedy) == (False, False, "")

    def test_rights_on_another_table_do_not_count(
        self, known: Callable[..., Privileges], run: Callable[[str], None]
    ) -> None:
        run("GRANT DELETE ON $shop.region TO $user")
        run("GRANT UPDATE ON `shop-other`.* TO $user")
        mine = known()
        assert (mine.update, mine.delete) == (False, False)

    def test_a_role_that_it_may_take_on_counts(
        self, known: Callable[..., Privileges], run: Callable[[str], None], user: str, shop: str
    ) -> None:
        run(f"CREATE ROLE {user}_writers")
        run(f"CREATE ROLE {user}_staff")
        run(f"GRANT UPDATE ON $shop.visit TO {user}_writers")
        run(f"GRANT {user}_writers TO {user}_staff")
        run(f"GRANT {user}_staff TO $user")
        mine = known()
        assert (mine.update, mine.delete) == (True, False)
        assert mine.remedy == f"REVOKE UPDATE ON `{shop}`.`visit` FROM `{user}_writers`;"


def test_the_same_tables_make_the_same_datasets_as_elsewhere(mariadb: MariaDBServer, secrets: dict[str, Any]) -> None:
    held = Held(backquoted, f"Same é {random.token_hex(4)}", f"TWO {random.token_hex(4)}")
    for name in (held.one, held.two):
        mariadb.create_database(name)
    for statement in held.statements():
        mariadb.execute(statement, database=held.one)
    with opened(MariaDB(), secrets | {"dbname": held.one}) as session:
        held.require_found(session)
