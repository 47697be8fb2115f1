"""The wire of a test: every message survives it, and whatever else comes is one error."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory.checks import channel, fork_protocol, protocol, wire
from connectory.checks.egress import EgressPolicy
from connectory.checks.fork_protocol import (
    Answer,
    ConnectorName,
    EndRequest,
    Exited,
    Forked,
    ForkRequest,
    Gone,
    Ready,
    Request,
)
from connectory.checks.protocol import (
    Denied,
    Event,
    Exchange,
    Job,
    Raised,
    StepBegan,
    StepEnded,
    StepSkipped,
    TlsAgreed,
    TokensStored,
    Verdict,
)
from connectory.checks.wire import ProtocolViolation
from connectory.contract.check import WAIT_LIMIT, FailureCode

step_names = st.from_regex(protocol.STEP_NAME, fullmatch=True)
times = st.floats(0, wire.TIME_LIMIT) | st.integers(0, int(wire.TIME_LIMIT))
counts = st.integers(0, 2**63 - 1)
texts = st.text(max_size=20) | st.just("\ud800")  # a path of the machine may hold such a half character
printable = st.text(max_size=60).filter(str.isprintable)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
documents = st.dictionaries(
    texts,
    st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8),
    max_size=4,
)
networks = st.ip_addresses().map(lambda ip: f"{ip}/{ip.max_prefixlen}")
names = st.builds(ConnectorName, *[texts] * 4)

jobs = st.builds(
    Job,
    document=documents,
    settings=documents,
    policy=st.builds(
        EgressPolicy,
        st.booleans(),
        allow=st.lists(networks, max_size=3).map(tuple),
        deny=st.lists(networks | st.sampled_from(["*", "*.example.com:5432", "[fd00::/8]:1-9"]), max_size=3).map(tuple),
        nat64=st.lists(st.just("64:ff9b:1::/48"), max_size=1).map(tuple),
    ),
    killed_at=times,
    memory=counts,
    tokens=st.none() | documents,
    exchange=st.none() | st.builds(Exchange, texts, st.none() | texts),
    cleartext_unverified=st.booleans(),
    traceback=st.booleans(),
)
details = {"step": st.none() | step_names, "remedy": st.none() | printable, "error_type": st.none() | printable}
failures = st.builds(Verdict, status=st.just("failed"), code=st.sampled_from(FailureCode), **details) | st.builds(
    Verdict,
    status=st.just("failed"),
    code=st.just(FailureCode.RATE_LIMITED),
    retry_after=st.none() | st.integers(0, WAIT_LIMIT),
    **details,
)
events = st.one_of(
    st.builds(StepBegan, step_names, times),
    st.builds(StepEnded, st.sampled_from(["passed", "failed"]), times),
    st.builds(StepSkipped, step_names),
    st.builds(TlsAgreed, st.booleans()),
    st.just(Denied()),
    st.builds(TokensStored, documents),
    st.builds(Raised, st.text(max_size=protocol.TRACEBACK_LIMIT // 12 - 1)),
    st.sampled_from([Verdict("succeeded"), Verdict("skipped")]),
    failures,
)
requests = st.builds(
    ForkRequest, counts, st.sampled_from(["test", "session", "look_up", "branch", "session_branch"]), names
) | st.builds(EndRequest, counts)
answers = st.one_of(
    st.builds(Ready, st.booleans()),
    st.builds(Forked, counts, st.integers(1, 2**22)),
    st.builds(Exited, counts, st.integers(-64, 255)),
    st.builds(Gone, counts),
)

WAYS = {
    "job": (jobs, protocol.encode_job, protocol.decode_job),
    "event": (events, protocol.encode_event, protocol.decode_event),
    "request": (requests, fork_protocol.encode_request, fork_protocol.decode_request),
    "answer": (answers, fork_protocol.encode_answer, fork_protocol.decode_answer),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@every_way
@given(st.data())
def test_every_message_arrives_as_it_was_sent(way, data):
    messages, encode, decode = way
    message = data.draw(messages)
    arrived = decode(encode(message))
    assert (type(arrived), arrived) == (type(message), message)


def test_an_event_is_one_line():
    assert protocol.encode_event(TokensStored({"a\n": "b\r\n\u2028"})).count(b"\n") == 1


def test_there_is_a_strategy_for_every_kind_of_message():
    kinds = {kind.__name__ for union in (Event, Request, Answer) for kind in union.__args__} | {"Job"}
    assert kinds == {"Job"} | {
        *("StepBegan", "StepEnded", "StepSkipped", "TlsAgreed", "Denied", "TokensStored", "Raised", "Verdict"),
        *("ForkRequest", "EndRequest", "Ready", "Forked", "Exited", "Gone"),
    }


def decoded_or_refused(decode, data: bytes) -> None:
    """Decode; what comes of it, where it is not refused, can be sent on."""
    try:
        message = decode(data)
    except ProtocolViolation:
        pass
    else:
        assert dataclasses.is_dataclass(message)
        [encode] = [encode for _, encode, same in WAYS.values() if same is decode]
        assert decode(encode(message)) == message


@every_way
@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_one_error_only(way, data):
    decoded_or_refused(way[2], data)


NASTY = [
    *("null", "true", "-1", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1" * 400, "1" * 5000, "1e-400", "1.5"),
    *(
        '""',
        '"\\ud800"',
        '"\\u0000"',
        '"' + "x" * 2000 + '"',
        "[]",
        "{}",
        '{"a": NaN}',
        "[[[[[]]]]]",
        '{"a": 1, "a": 2}',
    ),
    *("[" * 100_000, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, '"verdict"', '"failed"', '"test"'),
]


@every_way
@given(st.data())
def test_a_message_with_a_member_replaced_raises_one_error_only(way, data):
    messages, encode, decode = way
    members = json.loads(encode(data.draw(messages)))
    change = data.draw(st.sampled_from(["replace", "drop", "add", "repeat"]))
    key = data.draw(st.sampled_from(sorted(members)))
    texts = [(name, json.dumps(value)) for name, value in members.items() if (name, change) != (key, "drop")]
    if change == "replace":
        nasty = data.draw(st.sampled_from(NASTY))
        texts = [(name, nasty if name == key else text) for name, text in texts]
    elif change in {"add", "repeat"}:
        texts.append((key if change == "repeat" else "extra", data.draw(st.sampled_from(NASTY))))
    line = "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts) + "}"
    decoded_or_refused(decode, line.encode())
    if change in {"drop", "add", "repeat"}:
        with pytest.raises(ProtocolViolation):
            decode(line.encode())


@every_way
@given(st.data())
def test_a_message_with_bytes_changed_raises_one_error_only(way, data):
    messages, encode, decode = way
    sent = bytearray(encode(data.draw(messages)))
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    decoded_or_refused(decode, bytes(sent))


STEP = {"event": "step", "name": "connect", "at": 1.0}
FAILED = {
    "event": "verdict",
    "status": "failed",
    "code": "auth_failed",
    "step": None,
    "remedy": None,
    "retry_after": None,
    "error_type": None,
}
LIMITED = FAILED | {"code": "rate_limited"}


@pytest.mark.parametrize(
    "event",
    [
        STEP | {"at": True},
        STEP | {"at": -0.5},
        STEP | {"at": 2.0**41},
        STEP | {"at": 10**400},
        STEP | {"at": math.inf},
        STEP | {"name": ["connect"]},
        STEP | {"name": "connect\n"},
        STEP | {"event": "verdict"},
        STEP | {"event": "made_up"},
        STEP | {"event": ["step"]},
        STEP | {"more": 1},
        {"event": "end", "status": "skipped", "at": 1},
        {"event": "end", "status": ["passed"], "at": 1},
        {"event": "denied", "at": 1},
        {"event": "tls", "verified": None},
        {"event": "tls", "verified": 1},
        {"event": "tls"},
        {"event": "tokens", "tokens": ["t"]},
        {"event": "tokens", "tokens": {"t": math.nan}},
        {"event": "tokens", "tokens": {"t": "x" * protocol.TOKENS_LIMIT}},
        {"event": "raised", "traceback": None},
        {"event": "raised", "traceback": "x" * protocol.TRACEBACK_LIMIT},
        FAILED | {"code": None},
        FAILED | {"code": ["auth_failed"]},
        FAILED | {"code": {}},
        FAILED | {"status": {}},
        FAILED | {"status": "succeeded"},
        FAILED | {"retry_after": 1},
        LIMITED | {"retry_after": -1},
        LIMITED | {"retry_after": False},
        LIMITED | {"retry_after": 1.5},
        LIMITED | {"retry_after": "1"},
        LIMITED | {"retry_after": WAIT_LIMIT + 1},
        LIMITED | {"retry_after": 10**400},
        LIMITED | {"retry_after": math.nan},
        FAILED | {"remedy": "\ud800"},
        FAILED | {"remedy": "red \x1b[31m"},
        FAILED | {"error_type": "two\nlines"},
    ],
    ids=repr,
)
def test_an_event_that_breaks_a_rule_is_refused(event):
    with pytest.raises(ProtocolViolation):
        protocol.decode_event(json.dumps(event).encode())


@pytest.mark.parametrize("depth", [31, 32])
def test_tokens_nest_so_far_and_no_farther(depth):
    line = b'{"event": "tokens", "tokens": {"t": %b%b}}' % (b"[" * depth, b"]" * depth)
    if depth < protocol.TOKENS_DEPTH:
        assert isinstance(protocol.decode_event(line), TokensStored)
    else:
        with pytest.raises(ProtocolViolation):
            protocol.decode_event(line)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_a_message_is_utf_8(encoding):
    line = json.dumps(STEP | {"name": "é"}, ensure_ascii=False)
    with pytest.raises(ProtocolViolation):
        protocol.decode_event(line.encode(encoding))


def test_a_message_that_breaks_a_rule_cannot_be_made_either():
    for make in (
        lambda: StepBegan("Two words", 1.0),
        lambda: Verdict("succeeded", FailureCode.CRASHED),
        lambda: Verdict("failed"),
        lambda: Forked(1, 0),
        lambda: Exited(1, 1000),
        lambda: TokensStored({"t": object()}),
        lambda: ConnectorName("x" * 1001, "y"),
    ):
        with pytest.raises(ProtocolViolation):
            make()


def test_a_request_holds_the_longest_name_and_never_more_than_a_message_does():
    longest = ForkRequest(2**63 - 1, "branch", ConnectorName("i" * 100, "d" * 1000, "s" * 100, "\U0001f600" * 1000))
    assert len(fork_protocol.encode_request(longest)) < fork_protocol.MESSAGE_LIMIT
    with pytest.raises(ProtocolViolation):
        fork_protocol.encode_request(dataclasses.replace(longest, name=ConnectorName(*["\U0001f600" * 1000] * 4)))


def test_nothing_secret_shows_in_a_message():
    job = Job({"p": "hush-1"}, {"s": "hush-2"}, EgressPolicy(), 1.0, 1, {"t": "hush-3"}, Exchange("hush-4", "hush-5"))
    assert "hush" not in repr(job) + repr(TokensStored({"t": "hush-6"}))


def test_a_violation_on_the_channel_leaves_no_descriptor_open():
    ours, theirs = channel.channel()
    with ours, theirs, Path("/dev/null").open() as null:
        channel.send(theirs, b'{"answer": "forked"}', null.fileno())
        before = list(Path("/proc/self/fd").iterdir())
        with pytest.raises(ProtocolViolation):
            channel.receive(ours, fork_protocol.decode_answer)
        assert list(Path("/proc/self/fd").iterdir()) == before
        channel.send(theirs, fork_protocol.encode_answer(Gone(7)))
        assert channel.receive(ours, fork_protocol.decode_answer) == (Gone(7), [])
