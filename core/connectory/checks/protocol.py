"""What travels between the service and the process of a test: the messages, their limits, their bytes.

A `Job` goes down, events come up, the last one a `Verdict`. Whatever comes up is believed only once it is decoded: the driver
in a test may be under a hostile server's control.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from connectory.checks.egress import EgressPolicy
from connectory.checks.wire import (
    Maker,
    ProtocolViolation,
    decoded,
    encoded,
    is_count,
    is_duration,
    is_printable,
    is_whole,
    members_of,
    parsed,
    plain,
    require,
)
from connectory.contract.check import WAIT_LIMIT, FailureCode
from connectory.documents.validation import Document, children_in

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
        native_ports: TCP ports that native code may connect to by itself, where the kernel keeps it from others.
        datagrams: whether its code may send datagrams, to ask name servers by itself.
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
    native_ports: tuple[int, ...] = ()
    datagrams: bool = False

    def __post_init__(self) -> None:
        require(isinstance(self.document, Mapping), "secrets must be an object")
        require(isinstance(self.read_only, bool), "a session may only read or may write")
        require(isinstance(self.traceback, bool), "a traceback is asked for or not")
        require(isinstance(self.settings, Mapping), "settings must be an object")
        require(isinstance(self.tokens, Mapping | None), "tokens must be an object")
        require(isinstance(self.policy, EgressPolicy), "a policy must be one")
        require(isinstance(self.exchange, Exchange | None), "an exchange must be one")
        require(is_duration(self.killed_at) and is_duration(self.over_at), "a time must be a number of seconds")
        require(isinstance(self.datagrams, bool), "datagrams are allowed or not")
        require(isinstance(self.cleartext_unverified, bool), "a password may travel in clear or may not")
        require(is_count(self.memory) and is_count(self.largest_row), "memory must be a number of bytes")
        ports = isinstance(self.native_ports, tuple) and all(is_whole(port) for port in self.native_ports)
        require(ports and all(1 <= port <= 65535 for port in self.native_ports), "a port is a number from 1 to 65535")


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


# To bytes and back.


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
    require(isinstance(members["native_ports"], list), "ports are a list")
    members["native_ports"] = tuple(members["native_ports"])
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
    return encoded("event", _EVENT_WORDS, event) + b"\n"


def decode_event(line: bytes) -> Event:
    """The event in `line`, which may or may not have its line break.

    Raises:
        ProtocolViolation: there is none.
    """
    require(len(line) <= RESULT_LIMIT, f"a report has {RESULT_LIMIT} bytes")
    return decoded("event", _EVENTS, line)


def _verdict(members: dict[str, Any]) -> Verdict:
    code = members_of(members, Verdict)["code"]
    try:
        return Verdict(**members | {"code": None if code is None else FailureCode(code)})
    except ProtocolViolation:
        raise
    except ValueError:
        raise ProtocolViolation("a failure must have a code") from None


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
_EVENTS: dict[str, Maker[Event]] = {
    "step": plain(StepBegan),
    "end": plain(StepEnded),
    "skip": plain(StepSkipped),
    "tls": plain(TlsAgreed),
    "denied": plain(Denied),
    "tokens": plain(TokensStored),
    "raised": plain(Raised),
    "verdict": _verdict,
}
# The rules.


def is_sentence(value: object) -> bool:
    """Whether `value` may be shown as a remedy: printable, on one line, within `REMEDY_LIMIT`."""
    return is_printable(value, REMEDY_LIMIT)


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
