"""What a path names: a connection that is stored, or a connection type that can be used."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from sqlalchemy.engine import Connection

from connectory.api.http.errors import Refused
from connectory.catalog.catalog import Catalog
from connectory.catalog.discovery import IDENTIFIER
from connectory.store.connections import KEY_PATTERN, StoredConnection, find_similar_key, get_by_key
from connectory.store.detail import ConnectionDetail, get_detail

KEY_SCHEMA = {"minLength": 1, "maxLength": 200, "pattern": r"^[A-Za-z0-9_.-]{1,200}$"}
"""What the OpenAPI document says of a key. What validates one is `KEY_PATTERN`, which refuses `.` and `..` too."""

ConnectionKey = Annotated[
    str,
    Path(
        description="The connection's key; case-sensitive.",
        examples=["application_postgresql_db"],
        json_schema_extra=KEY_SCHEMA,
    ),
]

_MISSING = "No connection configuration found with key '{key}'."


def find_connection(database: Connection, key: str, missing: str = _MISSING) -> StoredConnection:
    """The connection of this key.

    Args:
        missing: the message where there is none.

    Raises:
        Refused: 404; where a stored key differs only by case, `-` or `_`, it is named.
    """
    found = get_by_key(database, key) if KEY_PATTERN.fullmatch(key) else None
    if found is None:
        raise _not_found(database, key, missing)
    return found


def find_detail(database: Connection, key: str) -> ConnectionDetail:
    """The connection of this key, with all that is shown of it.

    Raises:
        Refused: 404; where a stored key differs only by case, `-` or `_`, it is named.
    """
    found = get_detail(database, key) if KEY_PATTERN.fullmatch(key) else None
    if found is None:
        raise _not_found(database, key, _MISSING)
    return found


def _not_found(database: Connection, key: str, missing: str) -> Refused:
    if not KEY_PATTERN.fullmatch(key):
        return Refused(404, "No connection configuration found: a key has 1 to 200 letters, digits, '_', '.' or '-'.")
    similar = find_similar_key(database, key)
    hint = f" Did you mean '{similar}'?" if similar is not None else ""
    return Refused(404, missing.format(key=key) + hint)


def unknown_type(catalog: Catalog, identifier: str) -> Refused:
    """The 404 where the path names a connection type that cannot be used."""
    # The path may hold anything, so only what could be an identifier is repeated.
    if not IDENTIFIER.fullmatch(identifier):
        return Refused(404, "No connection type found with that name.")
    message = f"No connection type found with name '{identifier}'."
    if _is_installed(catalog, identifier):
        message += f" {catalog.unavailable_reason(identifier, '')}"
    return Refused(404, message)


def unknown_type_problem(catalog: Catalog, identifier: str) -> str:
    """What a 422 says where a connection's type is one that cannot be used. `identifier` is repeated only if it is installed."""
    why = (
        catalog.unavailable_reason(identifier, "")
        if _is_installed(catalog, identifier)
        else "No installed connector has this type; GET /api/v1/plugins lists what is installed."
    )
    return f"Must be one of: {', '.join(catalog.connectors)}. {why}"


def _is_installed(catalog: Catalog, identifier: str) -> bool:
    return any(record.identifier == identifier for record in catalog.records)
