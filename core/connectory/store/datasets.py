"""The datasets of a connection: descriptions of its data, as JSON text."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy import delete as delete_from
from sqlalchemy.engine import Connection

from connectory.store.asked import asked, is_asked
from connectory.store.errors import ConnectionGone, KeyTaken
from connectory.store.inserting import insert_unless_taken, replace_rows
from connectory.store.paging import load_page, paged
from connectory.store.search import storable
from connectory.store.tables import connections, datasets


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset.

    Attributes:
        id: UUID. Not shown to users.
        connection_id: id of the connection it belongs to, and is deleted with.
        fides_key: what users call it by; unique across all connections.
        dataset: JSON text.
    """

    id: str
    connection_id: str
    fides_key: str
    dataset: str
    created_at: datetime
    updated_at: datetime


_SELECT = select(*(datasets.c[field.name] for field in fields(Dataset)))
# FOR KEY SHARE is the lock the foreign key would take anyway: nobody deletes the connection until we are done.
_HOLD = (
    select(connections.c.id)
    .where(connections.c.id == bindparam("connection_id"))
    .with_for_update(read=True, key_share=True)
)


@cache
def _by_keys(dialect: str) -> Select[Any]:
    return (
        _SELECT.where(is_asked(datasets.c.fides_key, dialect))
        .order_by(datasets.c.fides_key)
        .with_for_update(of=datasets)
    )


def upsert_many(
    database: Connection, connection_id: str, documents: Mapping[str, str], *, now: datetime
) -> dict[str, Dataset | KeyTaken]:
    """Store datasets of one connection: new ones are added, those it has are replaced.

    Args:
        documents: JSON text by fides_key. Any number of them takes a few statements.

    Returns:
        For each fides_key the dataset, or a `KeyTaken` where it belongs to another connection.

    Raises:
        ConnectionGone: there is no such connection.
    """
    _hold_connection(database, connection_id)
    outcomes: dict[str, Dataset | KeyTaken] = {}
    remaining = dict(documents)
    while remaining:
        found = {
            row.fides_key: Dataset(*row) for row in database.execute(_by_keys(database.dialect.name), asked(remaining))
        }
        known, new = [], []
        for key, document in remaining.items():
            if key not in found:
                new.append(Dataset(str(uuid.uuid4()), connection_id, key, document, now, now))
            elif found[key].connection_id != connection_id:
                outcomes[key] = KeyTaken(key)
            else:
                known.append(replace(found[key], dataset=document, updated_at=now))
        replace_rows(database, datasets.c.id, [_values(row) for row in known])
        inserted = insert_unless_taken(database, datasets.c.fides_key, [_values(row) for row in new])
        outcomes |= {row.fides_key: row for row in known}
        outcomes |= {row.fides_key: row for row in new if row.fides_key in inserted}
        # An insert that met a row another transaction committed a moment ago starts again, and now finds it.
        remaining = {key: document for key, document in remaining.items() if key not in outcomes}
    return {key: outcomes[key] for key in documents}


def list_datasets(
    database: Connection, connection_id: str, *, page: int = 1, size: int = 50
) -> tuple[list[Dataset], int]:
    """One page of a connection's datasets, newest first and then by fides_key, and how many there are in all.

    Args:
        page: from 1, of any magnitude; past the end there are no rows.
        size: rows to a page, at least 1.
    """
    mine = datasets.c.connection_id == connection_id
    newest_first = paged(_SELECT.where(mine).order_by(datasets.c.created_at.desc(), datasets.c.fides_key))
    count = select(func.count()).select_from(datasets).where(mine)
    rows, total = load_page(database, count, lambda _: newest_first, page=page, size=size)
    return [Dataset(*tuple(row)) for row in rows], total


def get(database: Connection, connection_id: str, fides_key: str) -> Dataset | None:
    """One dataset of a connection, or None."""
    if not storable(fides_key):
        return None
    row = database.execute(_SELECT.where(*_this(connection_id, fides_key))).one_or_none()
    return None if row is None else Dataset(*row)


def delete(database: Connection, connection_id: str, fides_key: str) -> bool:
    """Delete one dataset of a connection; False if there is none."""
    if not storable(fides_key):
        return False
    return database.execute(delete_from(datasets).where(*_this(connection_id, fides_key))).rowcount == 1


def _this(connection_id: str, fides_key: str) -> tuple[Any, Any]:
    return datasets.c.connection_id == connection_id, datasets.c.fides_key == fides_key


def _hold_connection(database: Connection, connection_id: str) -> None:
    if database.execute(_HOLD, {"connection_id": connection_id}).scalar() is None:
        raise ConnectionGone(f"There is no connection of id {connection_id}; it may have been deleted a moment ago.")


def _values(row: Dataset) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(Dataset)}
