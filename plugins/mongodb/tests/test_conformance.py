"""The MongoDB connector keeps the contract, as any third party's would."""

from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.data import CollectionRef, Read
from connectory.testing import ConnectorConformance, Session
from servers.mongodb.server import MongoDBServer
from testkit.waiting import wait_until


class TestMongoDBConformance(ConnectorConformance):
    identifier = "mongodb"
    distribution = "connectory-mongodb"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, mongodb: MongoDBServer) -> dict[str, Any]:
        return {
            "host": mongodb.host,
            "port": mongodb.port,
            "username": mongodb.superuser,
            "password": mongodb.password,
            "defaultauthdb": "shop",
            "auth_source": "admin",
        }

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "not the password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"defaultauthdb": "nowhere"},
            FailureCode.TLS_FAILED: good_secrets | {"ssl_mode": "required"},
            FailureCode.PROTOCOL_MISMATCH: good_secrets | {"replica_set": "another"},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return {"host": host, "port": port, "username": "u", "password": "p", "defaultauthdb": "d"}

    def test_a_session_that_is_killed_leaves_nothing_at_the_server(
        self, good_secrets: dict[str, Any], mongodb: MongoDBServer
    ) -> None:
        """It is left in the middle of a read, and its process is killed: the server ends what it does for it."""
        with mongodb.client() as client:

            def ours() -> int:
                running = client.admin.command("currentOp")["inprog"]
                return sum("'name': 'connectory'" in str(one.get("clientMetadata")) for one in running)

            async def left_in_the_middle(session: Session) -> int:
                async for _ in session.read(Read(CollectionRef("many"), (("text",),)), 10):
                    break
                return ours()

            client["shop"]["many"].insert_many([{"text": "x" * 2000} for _ in range(3000)])
            try:
                assert self.use(good_secrets, left_in_the_middle) > 0
                wait_until(lambda: ours() == 0)
            finally:
                client["shop"].drop_collection("many")
