"""What a MongoDB database holds, how it is read, and that it ends in time: against a server, and far ends that misbehave."""

import secrets as random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import pymongo
import pytest
from bson import Binary, DBRef, Decimal128, Int64, ObjectId, Regex
from pymongo.monitoring import CommandListener, CommandStartedEvent

from connectory import CheckFailed, FailureCode
from connectory.data import (
    CollectionInfo,
    CollectionRef,
    DataFailure,
    DataSession,
    FieldInfo,
    Kind,
    Read,
    Rows,
    SessionFailed,
)
from connectory_mongodb import MongoDB
from servers.mongodb import hostile
from servers.mongodb.server import MongoDBServer
from testkit.sessions import among, found, opened, rows

NUMBER = ObjectId("64b000000000000000000001")
WHO = UUID("00112233-4455-6677-8899-aabbccddeeff")
MOMENT = datetime(2026, 1, 3, 12, 30, tzinfo=UTC)
ANY = Read(CollectionRef("c"), (("a",),))
CUSTOMERS = [
    {
        "_id": NUMBER,
        "email": "ann@shop.example",
        "address": {"zip": "1234", "geo": {"lat": 1.5}},
        "orders": [{"n": 1, "note": None}, {"n": Int64(2**40)}],
        "tags": ["a", "b"],
        "loose": 1,
        "nothing": None,
        "matrix": [[1], [2]],
        "who": Binary.from_uuid(WHO),
        "raw": b"\x00\xff",
        "price": Decimal128("12.50"),
        "at": MOMENT,
        "likes": Regex("^a"),
        "ref": DBRef("customer", NUMBER),
        "dot.ted": 1,
        "$odd": "x",
        "sp ace": True,
        "ünï": "ö",
    },
    {"_id": ObjectId(), "email": "bob@shop.example", "tags": [], "loose": "one", "dot.ted": 2, "$odd": "y"},
]


@pytest.fixture(scope="module")
def shop(mongodb: MongoDBServer) -> Iterator[str]:
    """A database with what there can be, and its name."""
    name = f"shop_{random.token_hex(4)}"
    with mongodb.client() as client:
        database = client[name]
        database["customer"].insert_many(CUSTOMERS)
        database["customer"].create_index("email", unique=True)
        database["customer"].create_index([("address.zip", 1), ("loose", 1)])
        database["customer"].create_index("loose", unique=True, partialFilterExpression={"loose": {"$gt": 5}})
        database.create_collection("empty")
        database["zz we.ird ünï"].insert_one({"_id": {"shop": 1, "n": 2}, "x": 1})
        database.command("create", "seen", viewOn="customer", pipeline=[])
        yield name
        client.drop_database(name)


@pytest.fixture
def root(mongodb: MongoDBServer) -> dict[str, Any]:
    where = {"host": mongodb.host, "port": mongodb.port, "ssl_mode": "disabled"}
    return where | {"username": mongodb.superuser, "password": mongodb.password, "auth_source": "admin"}


@pytest.fixture
def session(root: dict[str, Any], shop: str) -> Iterator[DataSession]:
    with opened(MongoDB(), root | {"defaultauthdb": shop}) as session:
        yield session


@pytest.fixture
def customer(session: DataSession) -> CollectionInfo:
    return found(session)["customer"]


def of(info: CollectionInfo, *path: str) -> FieldInfo:
    [field] = [field for field in info.fields if field.path == path]
    return field


class TestDiscovery:
    def test_collections_come_by_name_and_what_is_not_for_use_with_its_reason(
        self, session: DataSession, shop: str
    ) -> None:
        assert {name: info.left_out for name, info in found(session).items()} == {
            "customer": None,
            "empty": "it has no documents to look at",
            "seen": "view of customer",
            "zz we.ird ünï": None,
        }
        assert list(found(session)) == sorted(found(session))
        assert {tuple(info.ref.namespace.items()) for info in session.discover()} == {(("database", shop),)}

    def test_fields_are_found_in_documents(self, customer: CollectionInfo) -> None:
        assert (customer.kind, customer.inferred, customer.rows) == ("collection", True, 2)
        assert customer.primary_key == (("_id",),)
        assert [(field.path, field.kind, field.array) for field in customer.fields] == [
            (("_id",), Kind.OBJECT_ID, False),
            (("$odd",), Kind.STRING, False),
            (("address",), Kind.OBJECT, False),
            (("address", "geo"), Kind.OBJECT, False),
            (("address", "geo", "lat"), Kind.FLOAT, False),
            (("address", "zip"), Kind.STRING, False),
            (("at",), Kind.TIMESTAMP, False),
            (("dot.ted",), Kind.INTEGER, False),
            (("email",), Kind.STRING, False),
            (("likes",), Kind.STRING, False),
            (("loose",), Kind.ANY, False),
            (("matrix",), Kind.ANY, True),
            (("nothing",), Kind.ANY, False),
            (("orders",), Kind.OBJECT, True),
            (("orders", "n"), Kind.INTEGER, False),
            (("orders", "note"), Kind.ANY, False),
            (("price",), Kind.DECIMAL, False),
            (("raw",), Kind.BYTES, False),
            (("ref",), Kind.OBJECT, False),
            (("ref", "$id"), Kind.OBJECT_ID, False),
            (("ref", "$ref"), Kind.STRING, False),
            (("sp ace",), Kind.BOOLEAN, False),
            (("tags",), Kind.STRING, True),
            (("who",), Kind.UUID, False),
            (("ünï",), Kind.STRING, False),
        ]

    def test_how_many_documents_have_a_field_is_told(self, customer: CollectionInfo) -> None:
        presence = {
            path: of(customer, *path).presence for path in (("_id",), ("address", "zip"), ("nothing",), ("tags",))
        }
        assert presence == {("_id",): 1.0, ("address", "zip"): 0.5, ("nothing",): 0.5, ("tags",): 1.0}
        assert (of(customer, "_id").nullable, of(customer, "email").nullable, of(customer, "at").nullable) == (
            False,
            None,
            True,
        )
        assert of(customer, "loose").native == "int | string"
        assert of(customer, "orders", "n").native == "int | long"

    def test_indexes_say_what_is_unique_and_what_is_found_at_once(self, customer: CollectionInfo) -> None:
        paths = [("_id",), ("email",), ("address", "zip"), ("loose",), ("dot.ted",)]
        assert [(of(customer, *path).unique, of(customer, *path).indexed) for path in paths] == [
            (True, True),
            (True, True),
            (False, True),
            (False, False),
            (False, False),
        ]

    def test_a_key_may_be_an_object(self, session: DataSession) -> None:
        info = found(session)["zz we.ird ünï"]
        assert info.primary_key == (("_id",),)
        assert [field.path for field in info.fields] == [("_id",), ("_id", "n"), ("_id", "shop"), ("x",)]

    def test_of_many_documents_some_are_looked_at_and_the_newest_always(
        self, session: DataSession, mongodb: MongoDBServer, shop: str
    ) -> None:
        documents = [{"_id": number, "old": 1} for number in range(300)]
        with mongodb.client() as client:
            collection = client[shop]["many"]
            collection.insert_many([*documents, {"_id": 300, "new": 1}])
            try:
                [info] = [info for info in session.discover(sample=10) if info.ref.name == "many"]
            finally:
                collection.drop()
        assert 1 / 110 <= (of(info, "new").presence or 0) <= 1 / 99
        assert info.rows == 301

    def test_where_only_users_live_every_database_that_may_be_used_is_looked_at(
        self, root: dict[str, Any], shop: str
    ) -> None:
        url = "mongodb://{username}:{password}@{host}:{port}/?authSource=admin".format(**root)
        for secrets in ({"url": url, "ssl_mode": "disabled"}, root | {"defaultauthdb": "admin"}):
            with opened(MongoDB(), secrets) as session:
                databases = {info.ref.namespace["database"] for info in session.discover()}
            assert {shop, "shop", "vault"} <= databases
            assert not databases & {"admin", "config", "local"}

    @pytest.mark.parametrize("word", ["schema", "database"])
    def test_another_database_can_be_asked_for(self, session: DataSession, word: str) -> None:
        assert [info.ref.name for info in session.discover({word: "vault"})] == ["things"]
        assert list(session.discover({word: "nowhere"})) == []


class TestRead:
    def ref(self, shop: str) -> CollectionRef:
        return CollectionRef("customer", {"database": shop})

    def first(self, session: DataSession, shop: str, *paths: tuple[str, ...]) -> tuple[Any, ...]:
        query = Read(self.ref(shop), paths, (among("email", values=[("ann@shop.example",)]),))
        [batch] = session.read(query, 10)
        [row] = batch.rows
        return row

    def test_values_are_those_of_the_contract(self, session: DataSession, shop: str) -> None:
        names = ("_id", "price", "at", "who", "raw", "likes", "sp ace", "tags", "nothing", "loose", "dot.ted", "$odd")
        assert self.first(session, shop, *((name,) for name in names)) == (
            str(NUMBER),
            Decimal("12.50"),
            MOMENT,
            WHO,
            b"\x00\xff",
            "^a",
            True,
            ["a", "b"],
            None,
            1,
            1,
            "x",
        )

    def test_objects_and_their_members_may_be_asked_for_together(self, session: DataSession, shop: str) -> None:
        paths = (("address", "zip"), ("address",), ("orders", "n"), ("ref", "$id"), ("ref",), ("tags", "a"))
        assert self.first(session, shop, *paths) == (
            "1234",
            {"zip": "1234", "geo": {"lat": 1.5}},
            [1, 2**40],
            str(NUMBER),
            {"$ref": "customer", "$id": str(NUMBER)},
            [],
        )

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("_id",), str(NUMBER)),
            (("who",), WHO),
            (("price",), Decimal("12.5")),
            (("at",), MOMENT),
            (("raw",), b"\x00\xff"),
            (("tags",), "b"),
            (("orders", "n"), 2**40),
            (("dot.ted",), 1),
            (("$odd",), "x"),
            (("address", "geo", "lat"), 1.5),
        ],
    )
    def test_documents_are_found_by_what_they_hold(
        self, session: DataSession, shop: str, path: tuple[str, ...], value: Any
    ) -> None:
        query = Read(self.ref(shop), (("email",),), (Rows((path,), [(None,), (value,)]),))
        assert [row for batch in session.read(query, 10) for row in batch.rows] == [("ann@shop.example",)]

    def test_a_date_is_found_as_its_first_moment(self, session: DataSession, mongodb: MongoDBServer, shop: str) -> None:
        with mongodb.client() as client:
            client[shop]["day"].insert_one({"at": datetime(2026, 1, 3, tzinfo=UTC)})
        ref = CollectionRef("day", {"database": shop})
        assert len(rows(session, ref, "at", any_of=(among("at", values=[(date(2026, 1, 3),)]),))) == 1

    def test_rows_of_several_fields_fit_in_all_of_them(self, session: DataSession, shop: str) -> None:
        pairs = [("ann@shop.example", 2), ("bob@shop.example", 2), ("ann@shop.example", None)]
        by_both = among("email", "dot.ted", values=pairs)
        by_one = among("loose", values=[("one",)])
        assert rows(session, self.ref(shop), "email", any_of=(by_both, by_one)) == [("bob@shop.example",)]

    @pytest.mark.parametrize("name", ["$where", "$expr", "$or", "$nor"])
    def test_no_name_and_no_value_is_an_operator(self, session: DataSession, shop: str, name: str) -> None:
        by_name = among(name, values=[("sleep(9999) || true",), ("$email",), ("a'b%_\\",), ("\x00",)])
        assert rows(session, self.ref(shop), "email", any_of=(by_name,)) == []

    def test_nothing_is_asked_where_nothing_can_match(self, session: DataSession, shop: str) -> None:
        for values in ([], [(None,)]):
            assert rows(session, self.ref(shop), "email", any_of=(among("email", values=values),)) == []

    def test_many_long_values_are_asked_for_in_parts_and_no_document_comes_twice(
        self, session: DataSession, shop: str
    ) -> None:
        long = [(f"{number:04}{'x' * 10_000}",) for number in range(900)]
        wanted = (("ann@shop.example",), ("bob@shop.example",))
        by_email = among("email", values=[wanted[0], *long, wanted[1], wanted[0]])
        assert rows(session, self.ref(shop), "email", any_of=(by_email,)) == sorted(wanted)

    @pytest.mark.parametrize("value", [2**70, Decimal("1." + "1" * 40), "\ud800"])
    def test_a_value_that_no_document_can_hold_is_rejected(self, session: DataSession, shop: str, value: Any) -> None:
        with pytest.raises(SessionFailed) as failed:
            rows(session, self.ref(shop), "email", any_of=(among("email", values=[(value,)]),))
        assert (failed.value.code, failed.value.field) == (DataFailure.VALUE_REJECTED, ("email",))

    def test_a_collection_that_is_not_there_is_told_from_one_that_is_empty(
        self, session: DataSession, shop: str
    ) -> None:
        assert rows(session, CollectionRef("empty", {"database": shop}), "x") == []
        with pytest.raises(SessionFailed) as failed:
            rows(session, CollectionRef("nowhere", {"database": shop}), "x")
        assert failed.value.code is DataFailure.COLLECTION_MISSING

    def test_batches_are_small_in_number_and_in_weight(
        self, session: DataSession, mongodb: MongoDBServer, shop: str
    ) -> None:
        with mongodb.client() as client:
            client[shop]["heavy"].insert_many([{"text": "x" * 400_000} for _ in range(7)])
        query = Read(CollectionRef("heavy", {"database": shop}), (("text",), ("none",)))
        assert [len(batch.rows) for batch in session.read(query, 2000)] == [3, 3, 1]
        assert [len(batch.rows) for batch in session.read(query, 2)] == [2, 2, 2, 1]
        assert {batch.kinds for batch in session.read(query, 2)} == {(Kind.ANY, Kind.ANY)}


class _Heard(CommandListener):
    """Keeps what the driver sends."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command:  # those of the login come without what they hold
            self.commands.append(dict(event.command))

    def succeeded(self, event: object) -> None:
        pass

    failed = succeeded


class TestTime:
    @pytest.fixture
    def heard(self, monkeypatch: pytest.MonkeyPatch) -> _Heard:
        heard = _Heard()
        monkeypatch.setattr(pymongo, "MongoClient", partial(pymongo.MongoClient, event_listeners=[heard]))
        return heard

    def test_the_server_is_told_how_long_each_operation_may_take(
        self, heard: _Heard, root: dict[str, Any], shop: str
    ) -> None:
        """So it ends by itself, also where the process that asked is gone; a cursor keeps what its first command said."""
        with opened(MongoDB(), root | {"defaultauthdb": shop}, timeout=9) as session:
            infos = list(session.discover(sample=1))
            list(session.privileges([info.ref for info in infos]))
            list(session.read(Read(infos[0].ref, (("email",),)), 1))
        asked = {next(iter(command)) for command in heard.commands}
        assert {"aggregate", "find", "listCollections", "listIndexes", "connectionStatus"} <= asked
        untold = {next(iter(one)) for one in heard.commands if not 0 < one.get("maxTimeMS", 0) <= 9000}
        assert untold <= {"getMore", "killCursors", "endSessions"}

    def test_nothing_is_written(self, heard: _Heard, root: dict[str, Any], shop: str) -> None:
        with opened(MongoDB(), root | {"defaultauthdb": shop}) as session:
            infos = list(session.discover())
            list(session.privileges([info.ref for info in infos]))
        assert {next(iter(command)) for command in heard.commands} <= {
            "ping",
            "listCollections",
            "aggregate",
            "find",
            "getMore",
            "listIndexes",
            "count",
            "connectionStatus",
            "rolesInfo",
            "usersInfo",
            "killCursors",
            "endSessions",
        }
        assert all("$out" not in str(one) and "$merge" not in str(one) for one in heard.commands)

    def test_a_reader_that_leaves_leaves_no_cursor(
        self, heard: _Heard, root: dict[str, Any], mongodb: MongoDBServer, shop: str
    ) -> None:
        with mongodb.client() as client:
            client[shop]["long"].insert_many([{"n": number} for number in range(1200)])
        with opened(MongoDB(), root | {"defaultauthdb": shop}) as session:
            read = session.read(Read(CollectionRef("long"), (("n",),)), 10)
            next(iter(read))
            read.close()  # type: ignore[attr-defined]
        assert [next(iter(command)) for command in heard.commands if "killCursors" in command] == ["killCursors"]

    def test_what_takes_too_long_ends_with_a_timeout(
        self, root: dict[str, Any], mongodb: MongoDBServer, shop: str
    ) -> None:
        with mongodb.client() as client:
            client[shop]["slow"].insert_many([{"n": number, "text": "x" * 500} for number in range(10_000)])
        by_text = Rows((("$text",),), [("y",)])
        query = Read(CollectionRef("slow"), (("n",),), (by_text,))
        there = root | {"defaultauthdb": shop}
        with opened(MongoDB(), there, timeout=1) as session, pytest.raises(CheckFailed) as failed:
            list(session.read(query, 10))  # it has a tenth of a second: the last one is for telling
        assert failed.value.code is FailureCode.TIMEOUT


class TestFarEnds:
    def secrets(self, server: Any) -> dict[str, Any]:
        where = {"host": server.host, "port": server.port, "ssl_mode": "disabled", "defaultauthdb": "shop"}
        return where | {"username": "reader", "password": "marker-77d0"}

    @pytest.mark.parametrize(
        ("far_end", "code"),
        [
            (hostile.never_answers_a_ping, FailureCode.TIMEOUT),
            (hostile.is_old, FailureCode.PROTOCOL_MISMATCH),
            (partial(hostile.rejects, 18, "marker-1c"), FailureCode.AUTH_FAILED),
        ],
    )
    def test_a_session_is_opened_as_a_test_is(self, far_end: Any, code: FailureCode) -> None:
        with (
            far_end() as server,
            pytest.raises(CheckFailed) as failed,
            opened(MongoDB(), self.secrets(server), timeout=2),
        ):
            pass
        assert failed.value.code is code
        assert "marker" not in str(failed.value)

    def opened(self, server: Any) -> AbstractContextManager[DataSession]:
        secrets = {"url": f"mongodb://{server.host}:{server.port}/shop", "ssl_mode": "disabled"}
        return opened(MongoDB(), secrets, timeout=20)

    def test_more_documents_than_were_asked_for_are_not_looked_at(self) -> None:
        with hostile.never_ends() as server, self.opened(server) as session:
            [info] = session.discover(sample=150)
        assert [field.path for field in info.fields] == [("_id",), ("text",)]

    def test_endless_collections_are_told_as_too_many(self) -> None:
        far_end = hostile.never_ends(lists=True)
        with far_end as server, self.opened(server) as session, pytest.raises(SessionFailed) as failed:
            list(session.discover())
        assert failed.value.code is FailureCode.RESOURCE_LIMIT

    def test_endless_documents_come_as_they_are_read(self) -> None:
        with hostile.never_ends(value="x" * 10_000) as server, self.opened(server) as session:
            batches = session.read(Read(CollectionRef("c0"), (("text",),)), 2000)
            sizes = [len(batch.rows) for batch in islice(batches, 20)]
        assert all(90 <= size <= 110 for size in sizes)  # a MiB each

    def test_answers_without_their_parts_are_of_another_protocol(self) -> None:
        with hostile.answers_nothing_useful() as server, self.opened(server) as session:
            for use in (session.discover(), session.privileges([CollectionRef("c")]), session.read(ANY, 5)):
                with pytest.raises(CheckFailed) as failed:
                    list(use)
                assert failed.value.code is FailureCode.PROTOCOL_MISMATCH
