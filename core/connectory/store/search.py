"""Substring search over key, name and description: the same rows on both databases, from an index on both.

The three are stored together, case-folded by Python, in `search_text`. SQLite and PostgreSQL fold case differently (ASCII
only, or by the server's locale), so the database compares folded text literally and never folds by itself.
"""

import json
import re
from collections.abc import Collection
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, TextClause, bindparam, false, func, literal_column, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.sql import column, table

from connectory.store.tables import connections

SQLITE_INDEX = "connections_search"
"""FTS5 table with the trigram tokenizer over `connections.search_text`, kept by `index_rows` and `unindex_rows`.

Whoever changes connections by hand must run `INSERT INTO connections_search (connections_search) VALUES ('rebuild')` after.
"""

# Between the parts, so that no match spans two of them. Not a character anybody types or looks for.
_SEPARATOR = "\x1f"
_TRIGRAM = 3
# FTS5 reads U+FFFE and U+FFFF as U+FFFD and so cannot tell them apart.
_CONFUSED = frozenset("\ufffd\ufffe\uffff")

SearchMethod = Literal["index", "scan", "like", "nothing"]

_index = table(SQLITE_INDEX, column("rowid"), column("search_text"))


def search_text(key: str, name: str, description: str | None) -> str:
    """What is stored for a connection's search."""
    return _SEPARATOR.join((key, name, description or "")).casefold()


def method(dialect: str, term: str) -> SearchMethod:
    """How a database looks for a term: in FTS5's index, by scanning, with LIKE, or not at all, as nothing can match."""
    folded = term.casefold()
    if _SEPARATOR in folded or not storable(folded):
        return "nothing"
    if dialect == "postgresql":
        return "like"  # which uses the pg_trgm index where there is one
    return "index" if len(folded) >= _TRIGRAM and _CONFUSED.isdisjoint(folded) else "scan"


WALKED: ColumnElement[int] = literal_column("+connections.number")
"""The number of a row that SQLite is not to look up by it: a unary plus is its way to keep a column's index out of a plan."""


def condition(how: SearchMethod, *, drives: bool = True) -> ColumnElement[bool]:
    """That a connection's key, name or description contains the term, in any case, with `%` and `_` literal.

    Args:
        drives: for "index", let SQLite look the matches up one by one. Without, it walks the rows in some order instead.
    """
    searched = connections.c.search_text
    match how:
        case "index":
            number = connections.c.number if drives else WALKED
            return number.in_(select(_index.c.rowid).where(_matches()))
        case "scan":
            # Another name for the table, so that the numbers come from the index on the text alone.
            other = connections.alias("searched")
            return WALKED.in_(select(other.c.number).where(func.instr(other.c.search_text, bindparam("term")) > 0))
        case "like":
            return searched.like(bindparam("term"), escape="\\")
        case "nothing":
            return false()


def parameters(how: SearchMethod, term: str) -> dict[str, str]:
    """The values that `condition` needs."""
    folded = term.casefold()
    match how:
        case "index":
            # A quoted FTS5 string is matched as the sequence of its trigrams, which is the substring itself.
            return {"term": '"' + folded.replace('"', '""') + '"'}
        case "scan":
            return {"term": folded}
        case "like":
            return {"term": "%" + re.sub(r"([\\%_])", r"\\\1", folded) + "%"}
        case "nothing":
            return {}


def count_in_index() -> Select[Any]:
    """How many connections match, for "index" and no other condition: without visiting one of them."""
    return select(func.count()).select_from(_index).where(_matches())


def count_up_to(most: int) -> Select[Any]:
    """How many connections match, for "index", and at most so many: which costs no more for a term that all have."""
    return select(func.count()).select_from(select(_index.c.rowid).where(_matches()).limit(most).subquery())


def _matches() -> ColumnElement[bool]:
    return _index.c.search_text.op("MATCH", is_comparison=True)(bindparam("term"))


def index_rows(database: Connection, ids: Collection[str]) -> None:
    """Let search find these connections, by the text they have now. Call it after they were inserted or changed."""
    _change_index(database, _ADD, ids)


def unindex_rows(database: Connection, ids: Collection[str]) -> None:
    """Take these connections out of the index. Call it before they are changed or deleted: FTS5 needs their old text."""
    _change_index(database, _REMOVE, ids)


def _change_index(database: Connection, statement: TextClause, ids: Collection[str]) -> None:
    # PostgreSQL keeps its index by itself. On SQLite triggers could, but trusted_schema=OFF, which keeps a doctored
    # database file harmless, forbids triggers to write to FTS5 (in SQLite 3.40, for one).
    if ids and database.dialect.name == "sqlite":
        database.execute(statement, {"ids": json.dumps(list(ids))})


# In the order of the numbers: FTS5 writes what it has gathered to a segment of its own whenever one is lower than the last.
_ADD = text(
    f"INSERT INTO {SQLITE_INDEX} (rowid, search_text) "  # noqa: S608
    "SELECT number, search_text FROM connections WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY number"
)
_REMOVE = text(
    f"INSERT INTO {SQLITE_INDEX} ({SQLITE_INDEX}, rowid, search_text) "  # noqa: S608
    "SELECT 'delete', number, search_text FROM connections WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY number"
)


def storable(value: str) -> bool:
    """Whether text can be in the database at all: PostgreSQL has no NUL, and neither database has lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value
