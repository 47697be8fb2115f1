"""Times in the database: microseconds, UTC, always timezone-aware in Python."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import DateTime, TypeDecorator, func, select
from sqlalchemy.dialects.sqlite import DATETIME
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.types import TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` on PostgreSQL, where the session's time zone is UTC; ISO text on SQLite, where it sorts as time does.

    Raises:
        ValueError: a datetime without timezone is given; guessing one would store a wrong time.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """The type of one database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_IsoText())  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To UTC."""
        return None if value is None else _in_utc(value)


class _IsoText(DATETIME):
    # SQLAlchemy's own type drops the offset, and putting it back costs more than reading all the rest of a row.

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], str | None]:  # noqa: ARG002
        return lambda value: None if value is None else iso_text(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], datetime | None]:  # noqa: ARG002
        parse = datetime.fromisoformat
        return lambda value: None if value is None else parse(value)


@lru_cache(maxsize=64)  # all rows that a request writes hold the same few
def iso_text(value: datetime) -> str:
    """A time as SQLite stores it, and as PostgreSQL reads it.

    Raises:
        ValueError: it has no timezone.
    """
    return _in_utc(value).isoformat(" ", "microseconds")


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        raise ValueError("A time to be stored has no timezone; use datetime.now(UTC).")
    return value.astimezone(UTC)


def utc_now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


def database_now(database: Connection) -> datetime:
    """The current time by the clock that all nodes on one database share."""
    # SQLite has no clock of its own, and all its processes are on one machine.
    if database.dialect.name == "sqlite":
        return utc_now()
    now: datetime = database.execute(select(func.clock_timestamp())).scalar_one()
    return now
