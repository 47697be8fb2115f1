"""Times in the database: microseconds, UTC, always timezone-aware in Python."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, TypeDecorator
from sqlalchemy.engine import Dialect


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` on PostgreSQL; ISO text without offset on SQLite, where it sorts as time does.

    Raises:
        ValueError: a datetime without timezone is given; guessing one would store a wrong time.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time to be stored has no timezone; use datetime.now(UTC).")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)
