"""Substring search over key, name and description: the same rows on both databases, from an index on both.

The three are stored together, case-folded by Python, in `search_text`. SQLite and PostgreSQL fold case differently (ASCII
only, or by the server's locale), so the database compares folded text literally and never folds by itself.
"""

from sqlalchemy import ColumnElement, Select, false, func, select
from sqlalchemy.sql import column, table

from connectory.store.tables import connections

SQLITE_INDEX = "connections_search"
"""FTS5 table with the trigram tokenizer over `connections.search_text`, kept by triggers."""

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


def storable(text: str) -> bool:
    """Whether text can be in the database at all: PostgreSQL has no NUL, and neither database has lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _numbers_of_matches(folded: str) -> Select[tuple[int]]:
    # A quoted FTS5 string is matched as the sequence of its trigrams, which is the substring itself.
    phrase = '"' + folded.replace('"', '""') + '"'
    return select(_index.c.rowid).where(_index.c.search_text.op("MATCH")(phrase))
