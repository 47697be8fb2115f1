"""What an account may do at Snowflake and BigQuery, from the answers that they document: their stand-ins know no rights."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from connectory.data import CollectionRef, Privileges
from connectory_sql.bigquery import BIGQUERY
from connectory_sql.database import Database
from connectory_sql.snowflake import SNOWFLAKE


class Answering(Database):
    """A Snowflake that has these roles for ANN to take on, and tells of these grants, and of a view."""

    def __init__(self, roles: list[str], grants: list[tuple[str, ...]]) -> None:
        super().__init__(SNOWFLAKE, None)
        self._roles, self._grants = roles, grants

    def rows(self, statement: str, **_: Any) -> list[tuple[Any, ...]]:
        if "CURRENT_AVAILABLE_ROLES" in statement:
            return [(json.dumps(self._roles), "ANN")]
        return [("SHOP", "SEEN")] if "VIEWS" in statement else list(self._grants)


CUSTOMER = CollectionRef("CUSTOMER", {"schema": "SHOP"})
SNOWFLAKE_ANSWERS: dict[str, tuple[list[str], list[tuple[str, str]], tuple[bool, bool, bool] | None, str]] = {
    "a reader": (["READER"], [("READER", "SELECT")], (True, False, False), ""),
    "a writer by a role": (
        ["READER", "WRITER"],
        [("READER", "SELECT"), ("WRITER", "INSERT"), ("WRITER", "UPDATE")],
        (True, True, False),
        'REVOKE INSERT, UPDATE ON TABLE "SHOP"."CUSTOMER" FROM ROLE "WRITER";',
    ),
    "one who empties": (
        ["CLEANER"],
        [("CLEANER", "TRUNCATE")],
        (False, False, True),
        'REVOKE TRUNCATE ON TABLE "SHOP"."CUSTOMER" FROM ROLE "CLEANER";',
    ),
    "the owner": (
        ["OWNER"],
        [("OWNER", "OWNERSHIP")],
        (True, True, True),
        (
            'GRANT OWNERSHIP ON TABLE "SHOP"."CUSTOMER" TO ROLE SYSADMIN COPY CURRENT GRANTS; '
            'GRANT SELECT ON TABLE "SHOP"."CUSTOMER" TO ROLE "OWNER";'
        ),
    ),
    "another's right": (["READER"], [("READER", "SELECT"), ("WRITER", "DELETE")], (True, False, False), ""),
    "an administrator": (
        ["ACCOUNTADMIN", "READER"],
        [("READER", "SELECT")],
        (True, True, True),
        'REVOKE ROLE ACCOUNTADMIN FROM USER "ANN";',
    ),
    "a table of which nothing is told": (["READER"], [], None, ""),
}


@pytest.mark.parametrize(("roles", "grants", "may", "remedy"), SNOWFLAKE_ANSWERS.values(), ids=SNOWFLAKE_ANSWERS)
def test_snowflakes_grants(
    roles: list[str], grants: list[tuple[str, str]], may: tuple[bool, bool, bool] | None, remedy: str
) -> None:
    database = Answering(roles, [("SHOP", "CUSTOMER", *grant) for grant in grants])
    found = list(SNOWFLAKE.privileges(database, [CUSTOMER]))
    assert found == ([] if may is None else [Privileges(CUSTOMER, *may, remedy)])


def test_nobody_writes_through_a_view_of_snowflakes() -> None:
    seen = CollectionRef("SEEN", {"schema": "SHOP"})
    database = Answering(["OWNER"], [("SHOP", "SEEN", "OWNER", "OWNERSHIP")])
    assert list(SNOWFLAKE.privileges(database, [seen])) == [Privileges(seen, read=True, update=False, delete=False)]


VISIT = CollectionRef("visit", {"dataset_id": "app"})
READ, WRITE = "bigquery.tables.getData", "bigquery.tables.updateData"


def revoked(role: str) -> str:
    return f'REVOKE `roles/bigquery.{role}` ON SCHEMA `demo`.`app` FROM "serviceAccount:a@demo.iam";'


BIGQUERY_ANSWERS: dict[str, tuple[list[str] | None, list[str], tuple[bool, bool, bool] | None, str]] = {
    "a reader": ([READ], ["READER"], (True, False, False), ""),
    "a writer of the dataset": ([READ, WRITE], ["READER", "WRITER"], (True, True, True), revoked("dataEditor")),
    "an owner of it": (
        [READ, WRITE],
        ["OWNER", "roles/bigquery.admin"],
        (True, True, True),
        f"{revoked('admin')} {revoked('dataOwner')}",
    ),
    "a writer by a role of the project": ([READ, WRITE], [], (True, True, True), ""),
    "nobody": ([], [], (False, False, False), ""),
    "an account that may not ask": (None, [], None, ""),
}


@pytest.mark.parametrize(("held", "roles", "may", "remedy"), BIGQUERY_ANSWERS.values(), ids=BIGQUERY_ANSWERS)
def test_bigquerys_permissions(
    held: list[str] | None, roles: list[str], may: tuple[bool, bool, bool] | None, remedy: str
) -> None:
    from google.api_core.exceptions import Forbidden
    from google.cloud.bigquery import AccessEntry

    def asked(table: str, permissions: Sequence[str], retry: None) -> dict[str, Any]:
        assert (table, sorted(permissions), retry) == ("demo.app.visit", [READ, WRITE], None)
        if held is None:
            raise Forbidden("no")
        return {"permissions": held} if held else {}

    def dataset(name: str, retry: None) -> SimpleNamespace:
        assert (name, retry) == ("demo.app", None)
        if held is None:
            raise Forbidden("no")
        own = [AccessEntry(role, "userByEmail", "a@demo.iam") for role in roles]
        return SimpleNamespace(access_entries=[AccessEntry("OWNER", "specialGroup", "projectOwners"), *own])

    credentials = SimpleNamespace(service_account_email="a@demo.iam")
    client = SimpleNamespace(project="demo", test_iam_permissions=asked, get_dataset=dataset, _credentials=credentials)
    database = Database(BIGQUERY, SimpleNamespace(_client=client))
    found = list(BIGQUERY.privileges(database, [VISIT]))
    if may is None:
        assert found == []
    else:
        [known] = found
        assert (known.read, known.update, known.delete) == may
        assert known.remedy == remedy
