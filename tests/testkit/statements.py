"""What a driver is asked, whoever asks it."""

from collections.abc import Callable
from typing import Any

import psycopg2.extensions


def cursors_that_tell(tell: Callable[[str, Any], object]) -> type[psycopg2.extensions.cursor]:
    """A `cursor_factory` for a connection to PostgreSQL: `tell` is called with each statement and its values."""

    class Telling(psycopg2.extensions.cursor):
        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - the name is the driver's
            tell(query, vars)
            super().execute(query, vars)

    return Telling
