"""A data session: what a connector offers to those who use a connection, and how it says that something cannot be done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from connectory.contract.check import CheckContext
from connectory.contract.data import Batch, CollectionInfo, CollectionRef, Path, Privileges, Read
from connectory.contract.failure import FailureCode


class DataFailure(StrEnum):
    """Why an operation of a session failed, besides the codes that a test has. Consumers may switch on it.

    Attributes:
        COLLECTION_MISSING: there is no such collection.
        FIELD_MISSING: the collection has no such field.
        VALUE_REJECTED: a value that was given does not fit the field it is compared with.
        LOCK_TIMEOUT: others held what was needed for too long.
        SERIALIZATION: it collided with what others did at the same time, and may be tried again.
        TOO_LARGE: a single value is larger than may be passed on.
        UNSUPPORTED: this connector cannot do it.
    """

    COLLECTION_MISSING = "collection_missing"
    FIELD_MISSING = "field_missing"
    VALUE_REJECTED = "value_rejected"
    LOCK_TIMEOUT = "lock_timeout"
    SERIALIZATION = "serialization"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"


class SessionFailed(Exception):
    """Raised by an operation of a session that failed. It never carries text of the server or the driver.

    Args:
        code: why: a `DataFailure`, or a `FailureCode` such as `permission_denied`, `query_failed` or `timeout`.
        field: the field it is about. Default: none.
        retry_after: seconds the far end asked to wait, with `rate_limited`. Default: it said nothing.

    >>> from connectory.data import DataFailure, SessionFailed
    >>> raise SessionFailed(DataFailure.FIELD_MISSING, field=("address", "zip"))
    Traceback (most recent call last):
    connectory.contract.session.SessionFailed: field_missing
    """

    def __init__(
        self, code: FailureCode | DataFailure, *, field: Path | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.field = field
        self.retry_after = retry_after


class SessionContext(CheckContext):
    """What a session may use of the service that runs it, from its opening to its end.

    Everything is as in a test, with two differences. `timeout` is what the operation that runs now may still take: it begins
    anew with each. Steps and `report_tls` tell how the session is opened, and after that nothing.
    """

    @property
    @abstractmethod
    def read_only(self) -> bool:
        """Whether the connection may only be read. Then make the server refuse writes, where it can."""

    @property
    @abstractmethod
    def time_in_all(self) -> float:
        """Seconds until the session is over: what an operation may take in all, as long as each part of its answer comes in time.

        This is the limit for a server that counts how long a statement runs with all its rows.
        """

    @abstractmethod
    def report_login(self, name: str) -> None:
        """Tell by which name the server knows this login, where it does not notice by itself that a client has gone.

        Where the process is killed in the middle of an operation, the service opens another session with the same secrets, and
        has it `end_login` with that name. Each call replaces the name that was told before.

        Args:
            name: printable, of at most 200 characters, such as a connection's number. It must tell servers apart, where several
                answer at one address, and must not be secret.
        """


class DataSession(ABC):
    """One login at the far end, used for several operations, one after another, by one thread.

    It lives in a process of its own that is killed at a deadline, so it may block; it must not hold all that it reads. Where the
    server can end a statement by itself, let it do so after `SessionContext.timeout`, because a process that is killed tells it
    nothing; see `SessionContext.report_login` for one that cannot. What an operation raises has the meanings that it has in a
    test, and `SessionFailed` besides. Define the operations that the system can do; of the others the service says that they are
    `unsupported`.

    A complete session, over something that a dict holds:

    >>> from collections.abc import Iterator
    >>> from connectory.data import Batch, CollectionInfo, CollectionRef, DataFailure, DataSession, FieldInfo, Kind, Read
    >>> from connectory.data import SessionFailed
    >>> BOOKS = {"2026": [(1, "rent"), (2, "paper")]}
    >>>
    >>> class Books(DataSession):
    ...     def discover(self, namespace=None, sample=1000) -> Iterator[CollectionInfo]:
    ...         fields = (FieldInfo(("n",), Kind.INTEGER, "number"), FieldInfo(("text",), Kind.STRING, "text"))
    ...         for name in sorted(BOOKS):
    ...             yield CollectionInfo(CollectionRef(name), fields, primary_key=(("n",),), kind="book")
    ...
    ...     def read(self, query: Read, batch: int) -> Iterator[Batch]:
    ...         if query.ref.name not in BOOKS:
    ...             raise SessionFailed(DataFailure.COLLECTION_MISSING)
    ...         places = [(("n",), ("text",)).index(path) for path in query.fields]
    ...         kinds = tuple((Kind.INTEGER, Kind.STRING)[place] for place in places)
    ...         for row in BOOKS[query.ref.name]:
    ...             yield Batch(kinds, [tuple(row[place] for place in places)])
    ...
    ...     def close(self) -> None:
    ...         pass
    >>>
    >>> [batch.rows for batch in Books().read(Read(CollectionRef("2026"), (("text",),)), batch=2000)]
    [[('rent',)], [('paper',)]]
    """

    @abstractmethod
    def close(self) -> None:
        """Log out. Called once, when the session ends in good order; it should not wait for long."""

    def end_login(self, name: str) -> None:
        """Have the server end another login of the same account, with whatever it is doing. One that is gone is none to end.

        Args:
            name: what another session has given to `SessionContext.report_login`.
        """
        raise NotImplementedError

    def discover(self, namespace: Mapping[str, str] | None = None, sample: int = 1000) -> Iterator[CollectionInfo]:
        """Every collection, one at a time, in an order that is the same each time.

        What is there and not for use comes too, with `left_out`: views, partitions of another table, tables without columns or
        without the right to read them.

        Args:
            namespace: only what is in this, such as `{"schema": "public"}`. Default: everything that the connection is for.
            sample: documents to look at in each collection whose fields nothing states. Default: 1000.
        """
        raise NotImplementedError

    def privileges(self, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
        """What the account may do with each of `refs`, in their order. Asks the server, and never tries by writing."""
        raise NotImplementedError

    def read(self, query: Read, batch: int) -> Iterator[Batch]:
        """The rows that were asked for, as they come in: never more of them at once than fit into a batch or two.

        Args:
            query: what to read.
            batch: rows, at most, of each `Batch`. An answer without rows has no batch, or an empty one.
        """
        raise NotImplementedError
