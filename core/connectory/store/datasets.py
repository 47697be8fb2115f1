"""The datasets of a connection: descriptions of its data, as JSON text."""

import sys
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import LargeBinary, Select, bindparam, cast, func, select
from sqlalchemy import delete as delete_from
from sqlalchemy.engine import Connection

from connectory.store.asked import asked, is_asked
from connectory.store.errors import ConnectionGone, KeyTaken, PageTooLarge
from connectory.store.inserting import insert_unless_taken, replace_rows
from connectory.store.paging import load_page, paged
from connectory.store.prepared import Prepared
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
_HOLD = Prepared(
    select(connections.c.id).where(connections.c.id == bindparam("owner")).with_for_update(read=True, key_share=True)
)
_ORDER = datasets.c.created_at.desc(), datasets.c.fides_key
_NEWEST_FIRST = paged(_SELECT.where(datasets.c.connection_id == bindparam("owner")).order_by(*_ORDER))
_COUNT = select(func.count()).select_from(datasets).where(datasets.c.connection_id == bindparam("owner"))
_THIS = datasets.c.connection_id == bindparam("owner"), datasets.c.fides_key == bindparam("key")
_ONE = _SELECT.where(*_THIS)
_DELETE = delete_from(datasets).where(*_THIS)
_KEYS = select(datasets.c.fides_key).where(_THIS[0]).order_by(datasets.c.fides_key)


@cache
def _those_stored(dialect: str) -> Prepared:
    # Without their text, which may be megabytes and is about to be replaced.
    kept = datasets.c.fides_key, datasets.c.id, datasets.c.connection_id, datasets.c.created_at
    return Prepared(
        select(*kept)
        .where(is_asked(datasets.c.fides_key, dialect))
        .order_by(datasets.c.fides_key)
        .with_for_update(of=datasets)
    )


@cache
def _sizes(dialect: str) -> Select[Any]:
    # What PostgreSQL answers without reading the text. SQLite reads it, a row at a time.
    text = datasets.c.dataset
    size = func.octet_length(text) if dialect == "postgresql" else func.length(cast(text, LargeBinary))
    return paged(select(size).where(datasets.c.connection_id == bindparam("owner")).order_by(*_ORDER))


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
    if _HOLD.first(database, {"owner": connection_id}) is None:
        raise ConnectionGone(f"There is no connection of id {connection_id}; it may have been deleted a moment ago.")
    outcomes: dict[str, Dataset | KeyTaken] = {}
    remaining = dict(documents)
    while remaining:
        stored = {key: kept for key, *kept in _those_stored(database.dialect.name).all(database, asked(remaining))}
        known: list[Dataset] = []
        new: list[Dataset] = []
        for key, document in remaining.items():
            dataset_id, owner, created_at = stored.get(key, (str(uuid.uuid4()), connection_id, now))
            if owner != connection_id:
                outcomes[key] = KeyTaken(key)
            else:
                saved = Dataset(dataset_id, owner, key, document, created_at, now)
                (known if key in stored else new).append(saved)
        replace_rows(database, datasets.c.id, [_values(row) for row in known])
        inserted = insert_unless_taken(database, datasets.c.fides_key, [_values(row) for row in new])
        outcomes |= {row.fides_key: row for row in known}
        outcomes |= {row.fides_key: row for row in new if row.fides_key in inserted}
        # An insert that met a row another transaction committed a moment ago starts again, and now finds it.
        remaining = {key: document for key, document in remaining.items() if key not in outcomes}
    return {key: outcomes[key] for key in documents}


def keys_of_others(database: Connection, connection_id: str, fides_keys: Collection[str]) -> frozenset[str]:
    """Those of the keys under which other connections have datasets, so that `upsert_many` would not store them."""
    statement = _owners(database.dialect.name)
    rows = database.execute(statement, asked(fides_keys) | {"owner": connection_id})
    return frozenset(rows.scalars())


@cache
def _owners(dialect: str) -> Select[Any]:
    others = datasets.c.connection_id != bindparam("owner")
    return select(datasets.c.fides_key).where(is_asked(datasets.c.fides_key, dialect), others)


def list_datasets(
    database: Connection, connection_id: str, *, page: int = 1, size: int = 50, limit: int = sys.maxsize
) -> tuple[list[Dataset], int]:
    """One page of a connection's datasets, newest first and then by fides_key, and how many there are in all.

    Args:
        page: from 1, of any magnitude; past the end there are no rows.
        size: rows to a page, at least 1.
        limit: bytes that the datasets of a page may take together. A single one may take more. Default: any number.

    Raises:
        PageTooLarge: they take more. They were not loaded.
    """
    owner = {"owner": connection_id}
    found, _ = load_page(database, _COUNT, lambda _: _sizes(database.dialect.name), owner, page=page, size=size)
    sizes = [row[0] for row in found]
    if len(sizes) > 1 and sum(sizes) > limit:
        raise PageTooLarge(max(1, limit // max(sizes)))
    rows, total = load_page(database, _COUNT, lambda _: _NEWEST_FIRST, owner, page=page, size=size)
    return [Dataset(*tuple(row)) for row in rows], total


def keys_of(database: Connection, connection_id: str) -> list[str]:
    """The fides_keys of all datasets of a connection, in their order."""
    return list(database.execute(_KEYS, {"owner": connection_id}).scalars())


def get(database: Connection, connection_id: str, fides_key: str) -> Dataset | None:
    """One dataset of a connection, or None."""
    if not storable(fides_key):
        return None
    row = database.execute(_ONE, {"owner": connection_id, "key": fides_key}).one_or_none()
    return None if row is None else Dataset(*row)


def delete(database: Connection, connection_id: str, fides_key: str) -> bool:
    """Delete one dataset of a connection; False if there is none."""
    if not storable(fides_key):
        return False
    return database.execute(_DELETE, {"owner": connection_id, "key": fides_key}).rowcount == 1


def _values(row: Dataset) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(Dataset)}
