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
Matches = Literal["few", "some", "most"]

# Another name for the table, so that the numbers come from SQLite's index on the text alone.
_texts = connections.alias("texts")
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


def condition(how: SearchMethod, matches: Matches = "few") -> ColumnElement[bool]:
    """That a connection's key, name or description contains the term, in any case, with `%` and `_` literal.

    Args:
        matches: for SQLite, how many there are. "few" in the index are looked up one by one; in the other cases it walks all rows
            in some order, with a list of those that match, or do not.
    """
    match how:
        case "like":
            return connections.c.search_text.like(bindparam("term"), escape="\\")
        case "nothing":
            return false()
    if matches == "most":
        return WALKED.not_in(select(_texts.c.number).where(func.instr(_texts.c.search_text, bindparam("text")) == 0))
    if how == "scan":
        return WALKED.in_(select(_texts.c.number).where(func.instr(_texts.c.search_text, bindparam("text")) > 0))
    number = connections.c.number if matches == "few" else WALKED
    return number.in_(select(_index.c.rowid).where(_matches()))


def holds(how: SearchMethod) -> ColumnElement[bool]:
    """The same of one row that SQLite reads anyway."""
    return false() if how == "nothing" else func.instr(connections.c.search_text, bindparam("text")) > 0


def parameters(how: SearchMethod, term: str) -> dict[str, str]:
    """The values that the conditions need."""
    folded = term.casefold()
    match how:
        case "index":
            # A quoted FTS5 string is matched as the sequence of its trigrams, which is the substring itself.
            return {"term": '"' + folded.replace('"', '""') + '"', "text": folded}
        case "scan":
            return {"text": folded}
        case "like":
            return {"term": "%" + re.sub(r"([\\%_])", r"\\\1", folded) + "%"}
        case "nothing":
            return {}


def count(how: SearchMethod) -> Select[Any]:
    """How many connections match on SQLite: from an index, without visiting one of them."""
    if how == "index":
        return select(func.count()).select_from(_index).where(_matches())
    return select(func.count()).select_from(connections).where(holds(how))


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
