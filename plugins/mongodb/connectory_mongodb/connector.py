"""The MongoDB connector: its test, and where its sessions begin."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from connectory import CheckContext, CheckFailed, Connector, Description, FailureCode
from connectory.toolkit import Failures
from connectory_mongodb.failures import BY_CODE, REMEDIES, driver_errors
from connectory_mongodb.login import log_in
from connectory_mongodb.secrets import MongoDBSecrets

if TYPE_CHECKING:
    from pymongo import MongoClient

    from connectory.data import DataSession, SessionContext

# An answer without its parts.
_LACKS_PARTS: Failures = {LookupError: FailureCode.PROTOCOL_MISMATCH, TypeError: FailureCode.PROTOCOL_MISMATCH}


class MongoDB(Connector[MongoDBSecrets]):
    """MongoDB."""

    identifier = "mongodb"
    type = "database"
    description = Description(
        human_readable="MongoDB",
        user_guide="https://www.mongodb.com/docs/manual/reference/connection-string/",
        category="DATABASE",
        drivers=("pymongo", "dns.resolver"),
        asks_name_servers=True,
        session_modules=("connectory_mongodb.session",),
    )

    def test(self, secrets: MongoDBSecrets, context: CheckContext) -> None:
        """Log in, and check that the database is there and may be used."""
        with ExitStack() as opened:
            client, secrets = log_in(secrets, context, opened)
            with context.step("query", _LACKS_PARTS), driver_errors(secrets):
                _check_database(client, secrets)

    def open_session(self, secrets: MongoDBSecrets, context: SessionContext) -> DataSession:
        """Log in as the test does."""
        from connectory_mongodb.session import MongoDBSession

        with ExitStack() as opened:
            client, secrets = log_in(secrets, context, opened)
            return MongoDBSession(client, secrets, context, opened.pop_all())


def _check_database(client: MongoClient[dict[str, Any]], secrets: MongoDBSecrets) -> None:
    """MongoDB has no notion of a database without collections, but a user's database is one, and may hold only users."""
    from pymongo.errors import OperationFailure

    database = secrets.defaultauthdb
    holds_the_user = secrets.username is not None and database in {secrets.user_source, None}
    visible: dict[str, Any] = {"nameOnly": True, "authorizedDatabases": True}
    try:
        if database is not None:
            found = client[database].command("listCollections", nameOnly=True, authorizedCollections=True)
            if found["cursor"]["firstBatch"] or holds_the_user:
                return
            visible["filter"] = {"name": database}
    except OperationFailure as error:
        if BY_CODE.get(error.code or 0) is not FailureCode.PERMISSION_DENIED or not holds_the_user:
            raise
    # What remains: is there the database, or (for a user of `admin`, say) any database that the user has rights in?
    if not client.admin.command("listDatabases", **visible)["databases"]:
        code = FailureCode.PERMISSION_DENIED if holds_the_user else FailureCode.DATABASE_NOT_FOUND
        raise CheckFailed(code, remedy=REMEDIES.get(code))
