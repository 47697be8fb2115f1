"""The servers of these tests, and running the connector's test the way the service does."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from bson import Decimal128, Int64

from connectory.testing import Certificates, Workbench
from servers.mongodb.server import MongoDBServer
from testkit.checking import Check, check_of

PASSWORD = "pw1-of-the-reader"


@pytest.fixture(scope="session")
def check(workbench: Workbench) -> Check:
    """Test a connection with these secrets, within `deadline` seconds, and return the report."""
    return check_of(workbench, "mongodb", "connectory-mongodb")


@pytest.fixture(scope="session")
def mongodb() -> Iterator[MongoDBServer]:
    """A server that wants a login and offers no TLS; database `shop` has a collection, and the user `reader`."""
    with MongoDBServer() as server:
        _furnish(server)
        yield server


@pytest.fixture(scope="session")
def mongodb_tls(certificates: Certificates) -> Iterator[MongoDBServer]:
    """The same behind TLS, which it requires."""
    with MongoDBServer(certificate=certificates.server) as server:
        _furnish(server)
        yield server


def _furnish(server: MongoDBServer) -> None:
    for database in ("shop", "vault"):
        server.create_collection(database, "things")
    with server.client() as client:
        client["shop"]["things"].insert_many(
            [
                {"name": "cup", "sizes": [1, 2], "made": {"by": "Ann", "at": datetime(2026, 1, 3, tzinfo=UTC)}},
                {
                    "name": 5,
                    "parts": [{"n": Int64(1), "price": Decimal128("1.5")}],
                    "code": uuid4().bytes,
                    "gone": None,
                },
            ]
        )
    server.create_user("reader", PASSWORD, database="shop")
    server.create_user("nobody", PASSWORD, database="shop", roles=[])
