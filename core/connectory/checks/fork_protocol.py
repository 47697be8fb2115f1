"""What travels between the service and its fork servers: requests down, answers up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from connectory.checks.wire import Maker, decoded, encoded, is_count, is_whole, members_of, plain, require

if TYPE_CHECKING:
    from connectory.catalog.loaded import LoadedConnector

NAME_LIMIT = 1000
"""Characters of each part of a connector's name: the longest is a target, for which `SourcedConnector` states it."""
MESSAGE_LIMIT = 2**14
"""Bytes of a request to a fork server, or of its answer: a target of 1000 characters, twelve bytes each in JSON, and names."""


@dataclass(frozen=True)
class ConnectorName:
    """Which connector: its identifier, the distribution that ships it, and, for a sourced one, what it is made from."""

    identifier: str
    distribution: str
    source: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        parts = (self.identifier, self.distribution, self.source, self.target)
        fits = all(isinstance(part, str) and len(part) <= NAME_LIMIT for part in parts)
        require(fits, f"a connector's name has parts of {NAME_LIMIT} characters")

    @classmethod
    def of(cls, connector: LoadedConnector) -> ConnectorName:
        """The name of a connector that is loaded."""
        record = connector.record
        return cls(record.identifier, record.distribution, record.source, record.target if record.source else "")


Task: TypeAlias = Literal["test", "session", "look_up", "branch", "session_branch"]


@dataclass(frozen=True)
class ForkRequest:
    """Fork a process, known from now on by `number`: for one test, session or look-up, or to be a fork server for those of one
    connector."""

    number: int
    task: Task
    name: ConnectorName

    def __post_init__(self) -> None:
        require(is_count(self.number), "a process has a number")
        require(self.task in get_args(Task), "a process is forked for a test, a session or a look-up, or as a branch")
        require(isinstance(self.name, ConnectorName), "a process is forked for a connector")


@dataclass(frozen=True)
class EndRequest:
    """Kill process `number` and whatever it has started."""

    number: int

    def __post_init__(self) -> None:
        require(is_count(self.number), "a process has a number")


@dataclass(frozen=True)
class Ready:
    """The first answer: whether the fork server can fork tests. One that cannot ends."""

    can_fork: bool

    def __post_init__(self) -> None:
        require(isinstance(self.can_fork, bool), "a fork server can fork or cannot")


@dataclass(frozen=True)
class Forked:
    """Process `number` was forked, with this process id."""

    number: int
    pid: int

    def __post_init__(self) -> None:
        require(is_count(self.number) and is_count(self.pid), "a process has a number and an id")
        require(self.pid > 0, "a process's id is positive")  # kill(2) takes others for groups, or for everybody


@dataclass(frozen=True)
class Exited:
    """Process `number` is dead. `status` is its exit code, or the number of the signal that ended it, negated."""

    number: int
    status: int

    def __post_init__(self) -> None:
        require(is_count(self.number), "a process has a number")
        require(is_whole(self.status) and abs(self.status) < 256, "a process ends with a status")


@dataclass(frozen=True)
class Gone:
    """Process `number`, and whatever it had started, has been waited for."""

    number: int

    def __post_init__(self) -> None:
        require(is_count(self.number), "a process has a number")


Request: TypeAlias = ForkRequest | EndRequest
Answer: TypeAlias = Ready | Forked | Exited | Gone


def encode_request(request: Request) -> bytes:
    """`request` as one message.

    Raises:
        ProtocolViolation: it is longer than `MESSAGE_LIMIT`.
    """
    return _short(encoded("request", _REQUEST_WORDS, request))


def decode_request(data: bytes) -> Request:
    """The request in `data`.

    Raises:
        ProtocolViolation: there is none.
    """
    return decoded("request", _REQUESTS, _short(data))


def encode_answer(answer: Answer) -> bytes:
    """`answer` as one message."""
    return _short(encoded("answer", _ANSWER_WORDS, answer))


def decode_answer(data: bytes) -> Answer:
    """The answer in `data`.

    Raises:
        ProtocolViolation: there is none.
    """
    return decoded("answer", _ANSWERS, _short(data))


def _short(data: bytes) -> bytes:
    require(len(data) <= MESSAGE_LIMIT, f"a message has {MESSAGE_LIMIT} bytes")
    return data


def _fork_request(members: dict[str, Any]) -> ForkRequest:
    name = ConnectorName(**members_of(members_of(members, ForkRequest)["name"], ConnectorName))
    return ForkRequest(**members | {"name": name})


_REQUEST_WORDS: dict[type[Any], str] = {ForkRequest: "fork", EndRequest: "end"}
_REQUESTS: dict[str, Maker[Request]] = {"fork": _fork_request, "end": plain(EndRequest)}
_ANSWER_WORDS: dict[type[Any], str] = {Ready: "ready", Forked: "forked", Exited: "exited", Gone: "gone"}
_ANSWERS: dict[str, Maker[Answer]] = {
    "ready": plain(Ready),
    "forked": plain(Forked),
    "exited": plain(Exited),
    "gone": plain(Gone),
}
