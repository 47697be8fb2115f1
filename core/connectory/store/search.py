"""Substring search over key, name and description: the same rows on both databases, from an index on both.

The three are stored together, case-folded by Python, in `search_text`. SQLite and PostgreSQL fold case differently (ASCII
only, or by the server's locale), so the database compares folded text literally and never folds by itself.
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Select, TextClause, bindparam, false, func, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.sql import column, table

from connectory.store.tables import connections

SQLITE_INDEX = "connections_search"
"""FTS5 table with the trigram tokenizer over `connections.search_text`, kept by `index_rows` and `unindex_rows`."""

# Between the parts, so that no match spans two of them. Not a character anybody types or looks for.
_SEPARATOR = "\x1f"
_TRIGRAM = 3
# FTS5 reads U+FFFE and U+FFFF as U+FFFD and so cannot tell them apart.
_CONFUSED = frozenset("\ufffd\ufffe\uffff")

_index = table(SQLITE_INDEX, column("rowid"), column("search_text"))


def search_text(key: str, name: str, description: str | None) -> str:
    """What is stored for a connection's search."""
    return _SEPARATOR.join((key, name, description or "")).casefold()


def contains(dialect: str, term: str) -> ColumnElement[bool]:
    """The condition that a connection's key, name or description contains `term`, in any case, `%` and `_` literal.

    Args:
        dialect: "sqlite" or "postgresql".
        term: not empty.
    """
    folded = term.casefold()
    if _SEPARATOR in folded or not storable(folded):
        return false()
    if dialect == "postgresql":
        return connections.c.search_text.contains(folded, autoescape=True)
    if len(folded) < _TRIGRAM or not _CONFUSED.isdisjoint(folded):
        return func.instr(connections.c.search_text, folded) > 0
    return connections.c.number.in_(_numbers_of_matches(folded))


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
        database.execute(statement, {"ids": list(ids)})


_ADD = text(
    f"INSERT INTO {SQLITE_INDEX} (rowid, search_text) SELECT number, search_text FROM connections WHERE id IN :ids"  # noqa: S608
).bindparams(bindparam("ids", expanding=True))
_REMOVE = text(
    f"INSERT INTO {SQLITE_INDEX} ({SQLITE_INDEX}, rowid, search_text) "  # noqa: S608
    "SELECT 'delete', number, search_text FROM connections WHERE id IN :ids"
).bindparams(bindparam("ids", expanding=True))


def storable(value: str) -> bool:
    """Whether text can be in the database at all: PostgreSQL has no NUL, and neither database has lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value


def _numbers_of_matches(folded: str) -> Select[tuple[int]]:
    # A quoted FTS5 string is matched as the sequence of its trigrams, which is the substring itself.
    phrase = '"' + folded.replace('"', '""') + '"'
    return select(_index.c.rowid).where(_index.c.search_text.op("MATCH")(phrase))
