"""What travels between the service, its fork servers and the process of a test: the messages, their limits, their bytes.

A `Job` goes down to the process of a test, events come up from it, the last one a `Verdict`. Between the service and a fork
server go requests and answers. Every message checks itself when it is made, so a message that breaks a rule exists at neither
end, and whatever bytes a process sends, decoding them gives a message or raises `ProtocolViolation`: the driver in a test may
be under a hostile server's control.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from connectory.checks.egress import EgressPolicy
from connectory.contract.check import WAIT_LIMIT, FailureCode
from connectory.documents.validation import Document, children_in

if TYPE_CHECKING:
    from connectory.catalog.loaded import LoadedConnector

JOB_LIMIT = 2**20
"""Bytes of a job: as large as the bodies that the API takes by default, and no secret of ours has more than some kilobytes."""
RESULT_LIMIT = 2**16
"""Bytes of all that the process of a test reports: tokens and steps fit, each at its limit."""
TOKENS_LIMIT = 2**15
"""Bytes of the tokens, as JSON, that a run may hand over; `CheckContext.store_tokens` states it. Web servers take headers of 8
or 16 KiB, so this is room for an access and a refresh token that are as long as any that can be sent."""
TOKENS_DEPTH = 32
"""Levels that tokens may nest. Whoever stores them must be able to write them out again, which is recursive."""
STEP_LIMIT = 64
"""Steps that one test may report: each phase of a handful of requests, and no flood."""
STEP_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
REMEDY_LIMIT = 500
"""Characters of a plugin's own sentence: three times the longest of our own for the codes."""
ERROR_TYPE_LIMIT = 100
"""Characters of an exception's class name, for the log: a line of source holds no longer one."""
TRACEBACK_LIMIT = 2**13
"""Bytes of a traceback as JSON: about a hundred lines, and tokens and steps still fit beside it."""
NAME_LIMIT = 1000
"""Characters of each part of a connector's name: the longest is a target, for which `SourcedConnector` states it."""
MESSAGE_LIMIT = 2**14
"""Bytes of a request to a fork server, or of its answer: a target of 1000 characters, twelve bytes each in JSON, and names."""
TIME_LIMIT = 2.0**40
"""Seconds: what no clock and no wait exceeds, 35,000 years. The difference of two times is then a finite number."""
_COUNT_LIMIT = 2**63


class ProtocolViolation(ValueError):
    """A message that must not exist. The text names the rule, never the value."""


# Down to the process of a test.


@dataclass(frozen=True)
class Exchange:
    """An authorization code to exchange for tokens. `code_verifier` is `None` without PKCE."""

    code: str = field(repr=False)
    code_verifier: str | None = field(repr=False)

    def __post_init__(self) -> None:
        require(isinstance(self.code, str), "a code must be text")
        require(isinstance(self.code_verifier, str | None), "a code verifier must be text")


@dataclass(frozen=True)
class Job:
    """What the process of one test is to do.

    Attributes:
        document: the secrets.
        settings: the deployer's settings for the connector, as JSON values.
        policy: where it may connect.
        killed_at: when it will be killed, on `time.monotonic()`, which Linux counts alike for every process.
        memory: bytes of address space that it may use more than before it began.
        tokens: what an earlier run handed over to be sealed, or `None`.
        exchange: the code to exchange for tokens; `None` to test the connection.
        cleartext_unverified: whether a password may travel in clear through TLS whose certificate was not verified.
        traceback: whether to tell the traceback of what the connector raises. The service never asks for it.
        read_only: whether a session may only read.
        largest_row: bytes that a single row of the session may have, where they are more than a frame has otherwise.
        over_at: when the session that this opens will be over, on the same clock; `killed_at` counts for its opening.
    """

    document: Document = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    policy: EgressPolicy
    killed_at: float
    memory: int
    tokens: Mapping[str, Any] | None = field(default=None, repr=False)
    exchange: Exchange | None = None
    cleartext_unverified: bool = False
    traceback: bool = False
    read_only: bool = False
    over_at: float = 0.0
    largest_row: int = 0

    def __post_init__(self) -> None:
        require(isinstance(self.document, Mapping), "secrets must be an object")
        require(isinstance(self.read_only, bool), "a session may only read or may write")
        require(isinstance(self.traceback, bool), "a traceback is asked for or not")
        require(isinstance(self.settings, Mapping), "settings must be an object")
        require(isinstance(self.tokens, Mapping | None), "tokens must be an object")
        require(isinstance(self.policy, EgressPolicy), "a policy must be one")
        require(isinstance(self.exchange, Exchange | None), "an exchange must be one")
        require(is_duration(self.killed_at) and is_duration(self.over_at), "a time must be a number of seconds")
        require(isinstance(self.cleartext_unverified, bool), "a password may travel in clear or may not")
        require(is_count(self.memory) and is_count(self.largest_row), "memory must be a number of bytes")


# Up from the process of a test.


@dataclass(frozen=True)
class StepBegan:
    """The step `name` began, at a time of `time.monotonic()`."""

    name: str
    at: float

    def __post_init__(self) -> None:
        _require_step_name(self.name)
        require(is_duration(self.at), "a time must be a number of seconds")


@dataclass(frozen=True)
class StepEnded:
    """The step that was open ended, at a time of `time.monotonic()`."""

    status: Literal["passed", "failed"]
    at: float

    def __post_init__(self) -> None:
        require(self.status in ("passed", "failed"), "a step passes or fails")
        require(is_duration(self.at), "a time must be a number of seconds")


@dataclass(frozen=True)
class StepSkipped:
    """The step `name` was not taken."""

    name: str

    def __post_init__(self) -> None:
        _require_step_name(self.name)


@dataclass(frozen=True)
class TlsAgreed:
    """A connection is encrypted. `verified` says whether the server's certificate was."""

    verified: bool

    def __post_init__(self) -> None:
        require(isinstance(self.verified, bool), "a certificate was verified or was not")


@dataclass(frozen=True)
class Denied:
    """The egress policy denied a connection or a host, for the first time in this test."""


@dataclass(frozen=True)
class TokensStored:
    """The connector handed over tokens, which replace those of before."""

    tokens: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        named = isinstance(self.tokens, Mapping) and all(isinstance(name, str) for name in self.tokens)
        require(named, "tokens must be JSON values under names")
        _require_depth(self.tokens)
        try:
            size = len(json.dumps(self.tokens, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise ProtocolViolation("tokens must be JSON values under names") from None
        require(size <= TOKENS_LIMIT, f"tokens may have {TOKENS_LIMIT} bytes as JSON")


@dataclass(frozen=True)
class Raised:
    """The traceback of what the connector raised, from which its secrets have been taken."""

    traceback: str = field(repr=False)

    def __post_init__(self) -> None:
        fits = isinstance(self.traceback, str) and len(json.dumps(self.traceback)) <= TRACEBACK_LIMIT
        require(fits, f"a traceback has {TRACEBACK_LIMIT} bytes as JSON")


Status: TypeAlias = Literal["succeeded", "failed", "skipped"]


@dataclass(frozen=True)
class Verdict:
    """What came of the test. All but `status` is `None` unless that is `failed`.

    Attributes:
        status: how it ended.
        code: why it failed; never `None` then.
        step: the step to blame; `None` for the one that is open, else the last one.
        remedy: the plugin's own sentence.
        retry_after: seconds the far end asked to wait, from 0 to `WAIT_LIMIT`; only with `rate_limited`.
        error_type: the class name of an unexpected exception.
    """

    status: Status
    code: FailureCode | None = None
    step: str | None = None
    remedy: str | None = None
    retry_after: int | None = None
    error_type: str | None = None

    def __post_init__(self) -> None:
        require(self.status in get_args(Status), "a test succeeds, fails or is skipped")
        details = (self.step, self.remedy, self.retry_after, self.error_type)
        if self.status != "failed":
            require(self.code is None and details == (None,) * 4, "only failures have details")
            return
        require(isinstance(self.code, FailureCode), "a failure must have a code")
        if self.step is not None:
            _require_step_name(self.step)
        if self.retry_after is not None:
            require(self.code is FailureCode.RATE_LIMITED, "only who limits requests asks for a wait")
            fits = is_count(self.retry_after) and self.retry_after <= WAIT_LIMIT
            require(fits, f"a wait must be a whole number of seconds, up to {WAIT_LIMIT}")
        require(self.remedy is None or is_sentence(self.remedy), f"a remedy has {REMEDY_LIMIT} printable characters")
        require(
            self.error_type is None or is_printable(self.error_type, ERROR_TYPE_LIMIT),
            f"a class name has {ERROR_TYPE_LIMIT} printable characters",
        )


Event: TypeAlias = StepBegan | StepEnded | StepSkipped | TlsAgreed | Denied | TokensStored | Raised | Verdict


# Between the service and its fork servers.


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


Task: TypeAlias = Literal["test", "session", "branch", "session_branch"]


@dataclass(frozen=True)
class ForkRequest:
    """Fork a process, known from now on by `number`: for one test or session, or to be a fork server for one connector's."""

    number: int
    task: Task
    name: ConnectorName

    def __post_init__(self) -> None:
        require(is_count(self.number), "a process has a number")
        require(self.task in get_args(Task), "a process is forked for a test, for a session or as a branch")
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
        require(_is_whole(self.status) and abs(self.status) < 256, "a process ends with a status")


@dataclass(frozen=True)
class Gone:
    """Process `number`, and whatever it had started, has been waited for."""

    number: int

    def __post_init__(self) -> None:
        require(is_count(self.number), "a process has a number")


Request: TypeAlias = ForkRequest | EndRequest
Answer: TypeAlias = Ready | Forked | Exited | Gone


# To bytes and back. Each kind of message has its word, under a key that says which way it goes.


def encode_job(job: Job) -> bytes:
    """`job` as bytes; whoever sends it must see to `JOB_LIMIT`."""
    policy = {member.name: getattr(job.policy, member.name) for member in fields(job.policy)}
    exchange = None if job.exchange is None else vars(job.exchange)
    return json.dumps({**vars(job), "policy": policy, "exchange": exchange}).encode()


def decode_job(data: bytes) -> Job:
    """The job in `data`.

    Raises:
        ProtocolViolation: there is none.
    """
    require(len(data) <= JOB_LIMIT, f"a job has {JOB_LIMIT} bytes")
    members = members_of(parsed(data), Job)
    exchange = members["exchange"]
    if exchange is not None:
        members["exchange"] = Exchange(**members_of(exchange, Exchange))
    members["policy"] = _policy(members_of(members["policy"], EgressPolicy))
    return Job(**members)


def _policy(members: dict[str, Any]) -> EgressPolicy:
    loopback = members.pop("allow_loopback")
    require(isinstance(loopback, bool), "loopback is allowed or not")
    are_texts = all(
        isinstance(rules, list) and all(isinstance(rule, str) for rule in rules) for rules in members.values()
    )
    require(are_texts, "rules must be texts")
    try:
        return EgressPolicy(loopback, **{name: tuple(rules) for name, rules in members.items()})
    except ValueError:
        raise ProtocolViolation("a rule of a policy must be one") from None


def encode_event(event: Event) -> bytes:
    """`event` as one line."""
    return _encoded("event", _EVENT_WORDS, event) + b"\n"


def decode_event(line: bytes) -> Event:
    """The event in `line`, which may or may not have its line break.

    Raises:
        ProtocolViolation: there is none.
    """
    require(len(line) <= RESULT_LIMIT, f"a report has {RESULT_LIMIT} bytes")
    return _decoded("event", _EVENTS, line)


def encode_request(request: Request) -> bytes:
    """`request` as one message.

    Raises:
        ProtocolViolation: it is longer than `MESSAGE_LIMIT`.
    """
    return _short(_encoded("request", _REQUEST_WORDS, request))


def decode_request(data: bytes) -> Request:
    """The request in `data`.

    Raises:
        ProtocolViolation: there is none.
    """
    return _decoded("request", _REQUESTS, _short(data))


def encode_answer(answer: Answer) -> bytes:
    """`answer` as one message."""
    return _short(_encoded("answer", _ANSWER_WORDS, answer))


def decode_answer(data: bytes) -> Answer:
    """The answer in `data`.

    Raises:
        ProtocolViolation: there is none.
    """
    return _decoded("answer", _ANSWERS, _short(data))


def _short(data: bytes) -> bytes:
    require(len(data) <= MESSAGE_LIMIT, f"a message has {MESSAGE_LIMIT} bytes")
    return data


_MessageT = TypeVar("_MessageT")
_Maker: TypeAlias = Callable[[dict[str, Any]], _MessageT]


def _plain(made: type[_MessageT]) -> _Maker[_MessageT]:
    """Makes a message whose members are JSON values."""
    return lambda members: made(**members_of(members, made))


def _verdict(members: dict[str, Any]) -> Verdict:
    code = members_of(members, Verdict)["code"]
    try:
        return Verdict(**members | {"code": None if code is None else FailureCode(code)})
    except ProtocolViolation:
        raise
    except ValueError:
        raise ProtocolViolation("a failure must have a code") from None


def _fork_request(members: dict[str, Any]) -> ForkRequest:
    name = ConnectorName(**members_of(members_of(members, ForkRequest)["name"], ConnectorName))
    return ForkRequest(**members | {"name": name})


_EVENT_WORDS: dict[type[Any], str] = {
    StepBegan: "step",
    StepEnded: "end",
    StepSkipped: "skip",
    TlsAgreed: "tls",
    Denied: "denied",
    TokensStored: "tokens",
    Raised: "raised",
    Verdict: "verdict",
}
_EVENTS: dict[str, _Maker[Event]] = {
    "step": _plain(StepBegan),
    "end": _plain(StepEnded),
    "skip": _plain(StepSkipped),
    "tls": _plain(TlsAgreed),
    "denied": _plain(Denied),
    "tokens": _plain(TokensStored),
    "raised": _plain(Raised),
    "verdict": _verdict,
}
_REQUEST_WORDS: dict[type[Any], str] = {ForkRequest: "fork", EndRequest: "end"}
_REQUESTS: dict[str, _Maker[Request]] = {"fork": _fork_request, "end": _plain(EndRequest)}
_ANSWER_WORDS: dict[type[Any], str] = {Ready: "ready", Forked: "forked", Exited: "exited", Gone: "gone"}
_ANSWERS: dict[str, _Maker[Answer]] = {
    "ready": _plain(Ready),
    "forked": _plain(Forked),
    "exited": _plain(Exited),
    "gone": _plain(Gone),
}


def _encoded(key: str, words: Mapping[type[Any], str], message: Any) -> bytes:
    return json.dumps({key: words[type(message)], **vars(message)}, default=vars).encode()


def _decoded(key: str, makers: Mapping[str, _Maker[_MessageT]], data: bytes) -> _MessageT:
    members = parsed(data)
    word = members.pop(key, None)
    maker = makers.get(word) if isinstance(word, str) else None
    if maker is None:
        raise ProtocolViolation(f"a message must say which {key} it is")
    return maker(members)


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is, none of whose members stands twice.

    Raises:
        ProtocolViolation: it is none.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_once_each)
    except (ValueError, RecursionError):  # a number of thousands of digits, too
        raise ProtocolViolation("a message must be JSON") from None
    if not isinstance(value, dict):
        raise ProtocolViolation("a message must be a JSON object")
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    require(len(members) == len(pairs), "a message must not say anything twice")
    return members


def members_of(value: Any, made: type[Any]) -> dict[str, Any]:
    """`value`, where it is an object with the members that a message of this class has, and no other."""
    if not isinstance(value, dict) or value.keys() != {member.name for member in fields(made)}:
        raise ProtocolViolation("a message must have the members of its kind")
    return value


# The rules.


def is_duration(value: object) -> bool:
    """Whether `value` is a number of seconds that can be computed with: finite, not negative, within `TIME_LIMIT`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= TIME_LIMIT


def is_sentence(value: object) -> bool:
    """Whether `value` may be shown as a remedy: printable, on one line, within `REMEDY_LIMIT`."""
    return is_printable(value, REMEDY_LIMIT)


def is_printable(value: object, limit: int) -> bool:
    """Whether `value` is text on one line, of at most `limit` characters."""
    return isinstance(value, str) and len(value) <= limit and value.isprintable()


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    """Whether `value` is a whole number that is not negative, within 63 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNT_LIMIT


def require(condition: bool, rule: str) -> None:
    """Raise `ProtocolViolation`, which names the rule, unless the condition holds."""
    if not condition:
        raise ProtocolViolation(rule)


def _require_step_name(value: object) -> None:
    fits = isinstance(value, str) and STEP_NAME.fullmatch(value) is not None
    require(fits, "a step's name must match ^[a-z][a-z0-9_]{0,39}$")


def _require_depth(value: Any) -> None:
    level: Iterable[Any] = [value]
    for _ in range(TOKENS_DEPTH):
        level = [inner for outer in level for inner in children_in(outer)]
        if not level:
            return
    raise ProtocolViolation(f"tokens may nest {TOKENS_DEPTH} levels")
