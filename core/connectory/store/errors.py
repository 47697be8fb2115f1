"""What the store refuses. No message carries a database password or a stored value."""


class StoreUrlInvalid(Exception):
    """The database URL cannot be used. The message says why and never quotes the URL, which may hold a password."""


class StoreUnavailable(Exception):
    """The database does not answer, or cannot take this work now; trying again later may succeed."""


class StoreConflict(StoreUnavailable):
    """The database ended this transaction in favour of another one; the same work can be done again at once."""


class StoreFailed(Exception):
    """The database refused a statement, which is a bug here or a damaged database.

    Raised in place of the driver's error, because that quotes values: psycopg2 puts them into the statement it sends, and
    PostgreSQL sends back the line and the row that it did not like.
    """


class SchemaUnknown(Exception):
    """A later release gave the database tables that this one cannot work with."""


class KeyTaken(Exception):
    """A key that must be unique belongs to another row.

    Attributes:
        key: the key that is taken.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"The key {key!r} is taken; choose another.")
        self.key = key


class ConnectionGone(Exception):
    """The connection that a row should belong to was deleted meanwhile."""


class PageTooLarge(Exception):
    """The rows of a page are together larger than is loaded at once.

    Attributes:
        fits: rows to a page that would fit, as far as this page goes.
    """

    def __init__(self, fits: int) -> None:
        super().__init__(f"The page is too large; ask for at most {fits} rows.")
        self.fits = fits
