"""What the process of a test writes is checked before it is believed: its driver may have been taken over."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory.checks.transcript import Transcript
from connectory.contract.check import FailureCode

FAILED = {"event": "verdict", "status": "failed", "code": "auth_failed", "step": None}
VERDICT = FAILED | {"remedy": None, "retry_after": None, "error_type": None}


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def fed(*chunks: bytes) -> Transcript:
    transcript = Transcript()
    for chunk in chunks:
        transcript.feed(chunk)
    return transcript


@given(st.integers(0, 300))
def test_it_makes_no_difference_how_the_bytes_arrive(cut: int):
    written = lines(
        {"event": "step", "name": "connect", "at": 1.0}, {"event": "end", "status": "passed", "at": 1.5}, VERDICT
    )
    report = fed(written[:cut], written[cut:]).report()
    assert (report.code, [step.elapsed_ms for step in report.steps]) == (FailureCode.AUTH_FAILED, [500.0])


@pytest.mark.parametrize(
    "written",
    [
        b"not json\n",
        b"[" * 60_000 + b"\n",
        b"7\n",
        b"{}\n",
        b'{"event": []}\n' + b'{"event": "verdict"}\n',
        lines(VERDICT | {"code": "made_up"}),
        lines(VERDICT | {"status": "made_up"}),
        lines(VERDICT | {"remedy": "two\nlines"}),
        lines(VERDICT | {"remedy": "x" * 501}),
        lines(VERDICT | {"remedy": {"nested": "x"}}),
        lines(VERDICT | {"error_type": "x" * 101}),
        lines(VERDICT | {"step": "<script>"}),
        lines(VERDICT | {"retry_after": "soon"}),
        lines(VERDICT | {"retry_after": float("nan")}),
        lines(VERDICT | {"retry_after": 10**400}),
        lines(VERDICT | {"more": 1}),
        lines({"event": "made_up"}),
        lines({"event": "step", "name": "connect", "at": 1e308}),
        lines({"event": "step", "name": "X" * 5, "at": 1}),
        lines({"event": "step", "name": "connect", "at": "now"}),
        lines(*[{"event": "skip", "name": "again"}] * 65),
        b"x" * 70_000,
    ],
)
def test_anything_else_than_a_report_is_not_believed(written: bytes):
    transcript = fed(written)
    assert transcript.complete
    assert transcript.report() is None
    assert transcript.report_failed(FailureCode.CRASHED).code is FailureCode.CRASHED


@given(st.binary(max_size=2000))
def test_no_bytes_make_it_raise(data: bytes):
    fed(data, b"\n").report_killed()


def test_what_follows_a_verdict_does_not_change_it():
    transcript = fed(lines(VERDICT, VERDICT | {"code": "crashed"}))
    assert transcript.report().code is FailureCode.AUTH_FAILED


def test_without_a_verdict_there_is_no_report():
    transcript = fed(lines({"event": "step", "name": "connect", "at": 1.0}), b'{"event": "verdict"')
    assert not transcript.complete
    assert transcript.report() is None
    assert [(step.name, step.status) for step in transcript.report_dead(-11).steps] == [("connect", "failed")]


def test_a_clock_that_runs_backwards_gives_no_negative_time():
    transcript = fed(
        lines({"event": "step", "name": "connect", "at": 9.0}, {"event": "end", "status": "passed", "at": 1.0}, VERDICT)
    )
    assert transcript.report().steps[0].elapsed_ms == 0


def test_a_connectors_own_sentence_stands_in_place_of_ours():
    own = {FailureCode.AUTH_FAILED: "The key was revoked.", FailureCode.TIMEOUT: "It is asleep."}
    transcript = Transcript(own)
    transcript.feed(lines(VERDICT))
    assert transcript.report().reason == "The key was revoked."
    assert Transcript(own).report_killed().reason == "It is asleep."
    assert Transcript(own).report_dead(3).reason == FailureCode.CRASHED.reason


def test_a_remedy_comes_before_the_connectors_own_sentence():
    transcript = Transcript({FailureCode.AUTH_FAILED: "The key was revoked."})
    transcript.feed(lines(VERDICT | {"remedy": "Ask Ada."}))
    assert transcript.report().reason == "Ask Ada."


def told_of(*events: object) -> tuple[Transcript, list[tuple[str, str]]]:
    """A transcript of these events, and what it told of steps: names, and how each began or ended."""
    told: list[tuple[str, str]] = []
    transcript = Transcript(on_step=lambda step: told.append((step.name, getattr(step, "status", "running"))))
    transcript.feed(lines(*events))
    return transcript, told


CONNECTED = [{"event": "step", "name": "connect", "at": 1.0}, {"event": "end", "status": "passed", "at": 1.5}]


def test_steps_are_told_as_they_begin_and_end():
    transcript, told = told_of(
        *CONNECTED, {"event": "step", "name": "tls", "at": 2.0}, {"event": "skip", "name": "tls"}
    )
    assert told == [("connect", "running"), ("connect", "passed"), ("tls", "running"), ("tls", "skipped")]
    transcript.feed(lines({"event": "step", "name": "query", "at": 3.0}, VERDICT))
    transcript.report()
    assert told[4:] == [("query", "running"), ("query", "failed")]


def test_a_step_that_had_passed_and_is_blamed_is_told_again():
    transcript, told = told_of(*CONNECTED, VERDICT)
    transcript.report()
    assert told[1:] == [("connect", "passed"), ("connect", "failed")]


def test_a_step_that_the_verdict_alone_names_is_told_too():
    transcript, told = told_of(*CONNECTED, VERDICT | {"step": "login"})
    transcript.report()
    assert told[2:] == [("login", "failed")]


@pytest.mark.parametrize(
    "event",
    [
        {"event": "step", "name": "again", "at": 1.0},
        {"event": "skip", "name": "again"},
    ],
)
def test_no_flood_of_steps_is_told(event: dict[str, object]):
    transcript, told = told_of(*[event] * 1000)
    assert transcript.complete
    assert len(told) == 64
