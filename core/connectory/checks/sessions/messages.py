"""What is said in a session: operations go down, answers come up. Whatever a process sends, it is one of these or is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from connectory.checks.protocol import ERROR_TYPE_LIMIT
from connectory.checks.sessions.facts import (
    collection_of,
    facts_of,
    path_of_names,
    privileges_members,
    privileges_of,
    ref_members,
    ref_of,
)
from connectory.checks.sessions.values import decoded_column, encoded_column
from connectory.checks.wire import (
    ProtocolViolation,
    is_count,
    is_duration,
    is_printable,
    parsed,
    require,
)
from connectory.contract.check import WAIT_LIMIT, FailureCode
from connectory.contract.data import Batch, CollectionInfo, CollectionRef, Kind, Path, Privileges, Read, Rows, Scalar
from connectory.contract.session import DataFailure

Code: TypeAlias = FailureCode | DataFailure
SAMPLE_LIMIT = 100_000
"""Documents that one collection may be judged by."""
LOGIN_LIMIT = 200
"""Characters of the name of a login."""
BATCH_LIMIT = 10_000
"""Rows of one batch."""


# Down.


@dataclass(frozen=True)
class Discover:
    """Say what there is."""

    namespace: Mapping[str, str] | None
    sample: int


@dataclass(frozen=True)
class AskPrivileges:
    """Say what the account may do with these."""

    refs: tuple[CollectionRef, ...]


@dataclass(frozen=True)
class ReadRows:
    """Read."""

    query: Read = field(repr=False)
    batch: int


@dataclass(frozen=True)
class EndLogin:
    """Have the server end what another session's login is doing."""

    name: str


Operation: TypeAlias = Discover | AskPrivileges | ReadRows | EndLogin


@dataclass(frozen=True)
class Order:
    """An operation, and its time: `patience` seconds without an answer, and when all must be over, on `time.monotonic()`."""

    operation: Operation
    patience: float
    over_at: float


# Up.


@dataclass(frozen=True)
class Done:
    """The operation is over, and all of its answer is said."""


@dataclass(frozen=True)
class Failed:
    """The operation failed.

    Attributes:
        code: why.
        field: the field that is about; `None` where it is about none.
        retry_after: seconds the far end asked to wait.
        error_type: the class name of an unexpected exception.
    """

    code: Code
    field: Path | None = None
    retry_after: int | None = None
    error_type: str | None = None


@dataclass(frozen=True)
class Login:
    """By which name the server knows the session's login. It may come at any time, and is not a part of an answer."""

    name: str

    def __post_init__(self) -> None:
        require(is_printable(self.name, LOGIN_LIMIT), "the name of a login must be printable")


Answer: TypeAlias = CollectionInfo | Privileges | Batch | Done | Failed


# To bytes and back.


def encode_order(order: Order) -> bytes:
    """`order` as a message."""
    word, members = _operation_members(order.operation)
    return json.dumps({"do": word, "patience": order.patience, "over_at": order.over_at, **members}).encode()


def _operation_members(operation: Operation) -> tuple[str, dict[str, Any]]:
    match operation:
        case Discover(namespace, sample):
            return "discover", {"namespace": None if namespace is None else dict(namespace), "sample": sample}
        case AskPrivileges(refs):
            return "privileges", {"refs": [ref_members(ref) for ref in refs]}
        case ReadRows(query, batch):
            rows = [_rows_members(rows) for rows in query.any_of]
            fields = [list(path) for path in query.fields]
            return "read", {"ref": ref_members(query.ref), "fields": fields, "any_of": rows, "batch": batch}
        case EndLogin(name):
            return "end_login", {"name": name}


def _rows_members(rows: Rows) -> list[Any]:
    columns = zip(*rows.values, strict=True)
    encoded = [
        encoded_column(Kind.ANY, column, path) for path, column in zip(rows.fields, columns, strict=bool(rows.values))
    ]
    return [[list(path) for path in rows.fields], list(zip(*encoded, strict=True))]


def decode_order(message: bytes) -> Order:
    """The order in `message`.

    Raises:
        ProtocolViolation: there is none.
    """
    members = parsed(message)
    try:
        makers: dict[str, Callable[[], Operation]] = {
            "discover": lambda: Discover(members["namespace"], members["sample"]),
            "privileges": lambda: AskPrivileges(tuple(map(ref_of, members["refs"]))),
            "read": lambda: ReadRows(_read_of(members), members["batch"]),
            "end_login": lambda: EndLogin(members["name"]),
        }
        order = Order(makers[members["do"]](), members["patience"], members["over_at"])
    except (KeyError, TypeError, ValueError):
        raise ProtocolViolation("an order must have the members of its kind") from None
    require(is_duration(order.patience) and is_duration(order.over_at), "a time must be a number of seconds")
    return order


def _read_of(members: dict[str, Any]) -> Read:
    rows = tuple(_rows_of(*each) for each in members["any_of"])
    return Read(ref_of(members["ref"]), tuple(map(path_of_names, members["fields"])), rows)


def _rows_of(names: list[Any], values: list[Any]) -> Rows:
    columns: list[Sequence[Any]] = [decoded_column(Kind.ANY, column) for column in zip(*values, strict=True)]
    rows: list[tuple[Scalar, ...]] = list(zip(*columns, strict=True))
    return Rows(tuple(map(path_of_names, names)), rows)


def encode_rows(kinds: Sequence[Kind], columns: Sequence[Sequence[Any]]) -> bytes:
    """A part of a batch as a message; `columns` are encoded values, all of one field together."""
    members = {"say": "rows", "kinds": list(kinds), "columns": columns}
    # orjson comes with the service, and is not needed to test a connector. It refuses a whole number of more than 64 bits, half
    # of a pair of surrogates, and numbers in lists.
    with suppress(TypeError, ImportError):
        if _is_finite(kinds, columns):
            import orjson

            return orjson.dumps(members)
    return json.dumps(members, separators=(",", ":")).encode()


def _is_finite(kinds: Sequence[Kind], columns: Sequence[Sequence[Any]]) -> bool:
    """Whether every float is certainly finite. orjson writes infinities and NaN as null."""
    if Kind.ANY in kinds or Kind.OBJECT in kinds:
        return False
    floats = (column for kind, column in zip(kinds, columns, strict=True) if kind is Kind.FLOAT)
    return all(math.isfinite(sum(filter(None, column))) for column in floats)


def encode_answer(answer: CollectionInfo | Privileges | Done | Failed) -> bytes:
    """`answer` as a message."""
    match answer:
        case CollectionInfo():
            members: dict[str, Any] = {"say": "collection", **facts_of(answer)}
        case Privileges():
            members = {"say": "privileges", **privileges_members(answer)}
        case Done():
            members = {"say": "done"}
        case Failed():
            members = {"say": "failed", **vars(answer)}
    return json.dumps(members, separators=(",", ":")).encode()


_LOGIN = b'{"say":"login",'


def encode_login(login: Login) -> bytes:
    """`login` as a message."""
    return _LOGIN + b'"name":' + json.dumps(login.name).encode() + b"}"


def decode_login(message: bytes) -> Login | None:
    """The login in `message`; `None` where it is about something else, or is not as it must be."""
    if not message.startswith(_LOGIN):
        return None
    try:
        return Login(parsed(message)["name"])
    except (ProtocolViolation, KeyError):
        return None


def decode_answer(message: bytes) -> Answer:
    """The answer in `message`.

    Raises:
        ProtocolViolation: there is none.
    """
    members = parsed(message)
    word = members.pop("say", None)
    maker = _ANSWERS.get(word) if isinstance(word, str) else None
    if maker is None:
        raise ProtocolViolation("an answer must say what it is")
    try:
        return maker(members)
    except ProtocolViolation:
        raise
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProtocolViolation("an answer must have the members of its kind") from None


def _batch(members: dict[str, Any]) -> Batch:
    kinds = tuple(map(Kind, members["kinds"]))
    columns = members["columns"]
    are_lists = isinstance(columns, list) and all(type(column) is list for column in columns)
    require(are_lists and bool(columns), "columns must be lists")
    decoded = [decoded_column(kind, column) for kind, column in zip(kinds, columns, strict=True)]
    return Batch(kinds, list(zip(*decoded, strict=True)))


def _failed(members: dict[str, Any]) -> Failed:
    code, path, wait, error_type = (members[name] for name in ("code", "field", "retry_after", "error_type"))
    known: Code = DataFailure(code) if code in set(DataFailure) else FailureCode(code)
    require(wait is None or (is_count(wait) and wait <= WAIT_LIMIT), "a wait must be a whole number of seconds")
    require(error_type is None or is_printable(error_type, ERROR_TYPE_LIMIT), "a class name must be printable")
    return Failed(known, None if path is None else path_of_names(path), wait, error_type)


_ANSWERS: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "collection": collection_of,
    "privileges": privileges_of,
    "rows": _batch,
    "done": lambda _: Done(),
    "failed": _failed,
}
