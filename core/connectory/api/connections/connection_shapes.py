"""What requests and answers say of a connection.

A member is said once, in `Connection`: answers show it, and a request may give it where the store has it among `EDITABLE`;
elsewhere requests may hold it and it is ignored, so that what was read can be sent back.
"""

from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from connectory.api.http.answers import Answer
from connectory.api.http.paging import Page
from connectory.api.stored.lookup import KEY_SCHEMA
from connectory.api.testing.test_reports import RecordedTest
from connectory.contract.check import FailureCode
from connectory.store import connections
from connectory.store.connections import EDITABLE

MOST_ITEMS = 50
"""Items to a request, as in the Integrations API of Fides."""

Name = Annotated[
    str,
    Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["Application PostgreSQL DB"]),
]
Key = Annotated[str, Field(json_schema_extra=KEY_SCHEMA, examples=["application_postgresql_db"])]
Text = Annotated[str, Field(max_length=5000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]


class Connection(Answer):
    """A stored connection, without its secrets."""

    name: Name
    key: Key
    description: Text | None
    connection_type: Annotated[str, Field(examples=["postgres"])]
    access: Annotated[Literal["read", "write"], Field(examples=["read"])]
    created_at: Annotated[datetime, Field(examples=["2022-06-16T22:20:24.972539+00:00"])]
    updated_at: Annotated[datetime, Field(examples=["2022-06-16T22:20:24.972539+00:00"])]
    disabled: Annotated[bool, Field(examples=[False])]
    last_test_timestamp: datetime | None
    last_test_succeeded: bool | None


SecretsState = Annotated[Literal["absent", "stored", "unreadable"], Field(examples=["stored"])]
Authorized = Annotated[bool, Field(examples=[False])]


class ConnectionHealth(Answer):
    """How a connection is, as far as a list can tell: no envelope is opened for it."""

    secrets_state: SecretsState
    authorized: Authorized
    last_failure_code: FailureCode | None
    connector: Annotated[Literal["present", "missing"], Field(description="On this node.")]


class ConnectionWithHealth(Connection):
    """A stored connection, and how it is."""

    health: ConnectionHealth


class ConnectionPage(Page[Connection | ConnectionWithHealth]):
    """Connections, each with its health where that is asked for."""


class LastTest(RecordedTest):
    """How the last test went of the secrets that are stored now."""


class ConnectionDetail(Connection):
    """A stored connection, with its secrets masked and the report of its last test."""

    secrets: Annotated[
        dict[str, Any] | None,
        Field(
            description="Sensitive values are shown as `**********`.",
            examples=[{"host": "db.example", "dbname": "app", "username": "reader", "password": "**********"}],
        ),
    ]
    secrets_state: SecretsState
    authorized: Authorized
    last_test: LastTest | None
    connector_problem: Annotated[
        str | None,
        Field(
            description="Why this node has no connector for it, and what to do; null where it has one.", examples=[None]
        ),
    ]


class Secrets(RootModel[dict[str, Any]]):
    """The fields of the connection type's secret schema, GET /connection_type/{connection_type}/secret."""


_SHOWN = tuple(Connection.model_fields)
_shown = attrgetter(*_SHOWN)


def connection_item(connection: connections.StoredConnection) -> dict[str, Any]:
    """What lists show of a connection: the members of `Connection`."""
    return dict(zip(_SHOWN, _shown(connection), strict=True))


class Item(BaseModel):
    """One connection to create or to change. Either `key` or `name` must be given.

    Without `key` one is created whose key is the name in snake case. To create a connection, `connection_type` and `access`
    must be given; to change a stored one, only `key` and what changes.
    """

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    name: Name | None = None
    key: Key | None = None
    connection_type: str | None = None
    secrets: Secrets | None = None


GIVEN = tuple(name for name in ConnectionDetail.model_fields if name in EDITABLE or name in Item.model_fields)
"""Members of a connection that a request may give."""

READ_ONLY = tuple(name for name in ConnectionDetail.model_fields if name not in GIVEN)
"""Members that `GET` returns and `PATCH` accepts and ignores."""


def _members_of_an_item() -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name, field in ConnectionDetail.model_fields.items():
        if name in READ_ONLY:
            yield name, (Any, Field(default=None, description="Read-only: accepted and ignored."))
        elif name not in Item.model_fields:
            yield name, (field.rebuild_annotation(), Field(default=None, description=field.description))


_item: Any = dict(_members_of_an_item())
_echo: Any = {
    name: (Connection.model_fields[name].rebuild_annotation() | None, ...) for name in GIVEN if name != "secrets"
}

ConnectionItem = create_model("ConnectionItem", __base__=Item, __doc__=Item.__doc__, **_item)
"""`Item` with the other members of `Connection`, each of which may be left out."""

FailedConnection = create_model(
    "FailedConnection", __base__=Answer, __doc__="An item that was not saved, without its secrets.", **_echo
)


class ConnectionItems(RootModel[Annotated[list[ConnectionItem], Field(max_length=MOST_ITEMS)]]):  # type: ignore[valid-type]
    """Connections to create or to change."""


class ConnectionFailure(Answer):
    """Why an item was not saved."""

    message: str
    data: FailedConnection  # type: ignore[valid-type]


class ConnectionsSaved(Answer):
    """The items of a request: those that were saved, and those that were not."""

    succeeded: list[Connection]
    failed: Annotated[list[ConnectionFailure], Field(examples=[[]])]


REQUEST_EXAMPLES = {
    "PostgreSQL": [
        {
            "name": "Application PostgreSQL DB",
            "key": "application_postgresql_db",
            "connection_type": "postgres",
            "access": "read",
        }
    ],
    "Manual": [
        {
            "name": "Manual connector",
            "key": "manual_connector",
            "connection_type": "manual",
            "access": "read",
            "disabled": False,
            "description": "Connector describing manual actions",
        }
    ],
}
