"""What exceptions mean in the process of a test: by the table of a step, by what every test knows, and what comes before both."""

import pytest

from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer, Peer


def steps(report) -> list[tuple[str, str]]:
    return [(step.name, step.status) for step in report.steps]


# What every test knows.


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        ("TimeoutError('secret')", FailureCode.TIMEOUT),
        ("ConnectionRefusedError('secret')", FailureCode.CONNECT_REFUSED),
        ("ConnectionResetError('secret')", FailureCode.PROTOCOL_MISMATCH),
        ("BrokenPipeError('secret')", FailureCode.PROTOCOL_MISMATCH),
        ("ConnectionError('secret')", FailureCode.PROTOCOL_MISMATCH),
        ("EOFError('secret')", FailureCode.PROTOCOL_MISMATCH),
        ("asyncio.IncompleteReadError(b'secret', 9)", FailureCode.PROTOCOL_MISMATCH),
        ("ssl.SSLCertVerificationError('secret')", FailureCode.TLS_UNTRUSTED),
        ("ssl.SSLError('secret')", FailureCode.TLS_FAILED),
        ("ssl.SSLEOFError('secret')", FailureCode.TLS_FAILED),
        ("MemoryError", FailureCode.RESOURCE_LIMIT),
        ("ImportError('secret')", FailureCode.DRIVER_MISSING),
    ],
)
@pytest.mark.parametrize("where", ["with context.step('query'): ", ""], ids=["in a step", "outside"])
def test_standard_exceptions_have_their_codes(check, raised, code, where):
    report = check(f"import asyncio, ssl\n{where}raise {raised}")
    assert (report.status, report.code, report.error_type) == ("failed", code, None)
    assert "secret" not in report.reason.replace("in the secrets", "")
    assert steps(report) == ([("query", "failed")] if where else [])


@pytest.mark.parametrize(
    "raised", ["OSError()", "ValueError()", "KeyError()", "FileNotFoundError()", "PermissionError()"]
)
def test_every_other_exception_is_an_internal_error(check, raised):
    report = check(f"raise {raised}")
    assert (report.code, report.error_type) == (FailureCode.INTERNAL_DRIVER_ERROR, raised[:-2])


@pytest.mark.parametrize("name", ["'x' * 101", r"'two\nlines'"])
def test_a_class_name_that_cannot_be_shown_is_replaced(check, name):
    report = check(f"raise type({name}, (Exception,), {{}})")
    assert (report.code, report.error_type) == (FailureCode.INTERNAL_DRIVER_ERROR, "Exception")


# What a step knows.

DRIVER = """
class Error(Exception): pass
class OperationalError(Error): pass
class BadPassword(OperationalError): pass
class Unrelated(Exception): pass
AUTH = FailureCode.AUTH_FAILED
QUERY = FailureCode.QUERY_FAILED
"""


@pytest.mark.parametrize(
    ("table", "raised", "code"),
    [
        ("{Error: QUERY}", "Error", FailureCode.QUERY_FAILED),
        ("{Error: QUERY}", "BadPassword", FailureCode.QUERY_FAILED),
        ("{Error: QUERY, BadPassword: AUTH}", "BadPassword", FailureCode.AUTH_FAILED),
        ("{OperationalError: AUTH, Error: QUERY}", "BadPassword", FailureCode.AUTH_FAILED),
        ("{Error: QUERY, OperationalError: AUTH}", "Error", FailureCode.QUERY_FAILED),
        ("{Error: QUERY}", "Unrelated", FailureCode.INTERNAL_DRIVER_ERROR),
        ("{}", "Error", FailureCode.INTERNAL_DRIVER_ERROR),
        ("{Error: QUERY}", "TimeoutError", FailureCode.CONNECT_TIMEOUT),
        ("{OSError: QUERY}", "TimeoutError", FailureCode.QUERY_FAILED),
        ("{ConnectionResetError: AUTH}", "ConnectionResetError", FailureCode.AUTH_FAILED),
        ("{EOFError: AUTH}", "ConnectionResetError", FailureCode.PROTOCOL_MISMATCH),
        ("{Exception: QUERY}", "ImportError", FailureCode.QUERY_FAILED),
    ],
)
def test_the_nearest_class_in_the_table_of_a_step_counts(check, table, raised, code):
    report = check(f"{DRIVER}\nwith context.step('connect', {table}): raise {raised}")
    assert report.code is code
    assert steps(report) == [("connect", "failed")]


def test_an_entry_may_bring_a_remedy_a_wait_and_a_step(check):
    entry = "CheckFailed(FailureCode.RATE_LIMITED, step='query', remedy='Come back later.', retry_after=7)"
    report = check(f"{DRIVER}\nwith context.step('connect', {{Error: {entry}}}): raise BadPassword")
    assert (report.code, report.reason, report.retry_after) == (
        FailureCode.RATE_LIMITED,
        "Come back later. Try again in 7 seconds.",
        7,
    )
    assert steps(report) == [("connect", "passed"), ("query", "failed")]


def test_a_failure_comes_from_its_exception(check):
    """And the table of failures stays as it was."""
    report = check(
        f"{DRIVER}\n"
        """
failed = CheckFailed(AUTH)
for raised in (Error("one"), BadPassword("two")):
    try:
        with context.step("authenticate", {Error: failed}):
            raise raised
    except CheckFailed as caught:
        assert caught is not failed and caught.__cause__ is raised
assert failed.__cause__ is failed.__context__ is failed.__traceback__ is None
"""
    )
    assert (report.status, steps(report)) == ("succeeded", [("authenticate", "failed")] * 2)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [("CheckFailed(AUTH)", "failed", FailureCode.AUTH_FAILED), ("CheckSkipped", "skipped", None)],
)
def test_a_verdict_is_not_looked_up(check, raised, status, code):
    report = check(f"{DRIVER}\nwith context.step('query', {{Exception: QUERY}}): raise {raised}")
    assert (report.status, report.code) == (status, code)


def test_a_table_ends_with_its_step(check):
    nested = "with context.step('connect', {Error: AUTH}):\n    with context.step('query'): raise Error"
    assert check(f"{DRIVER}\n{nested}").code is FailureCode.INTERNAL_DRIVER_ERROR
    after = "with context.step('connect', {Error: AUTH}): pass\nraise Error"
    assert check(f"{DRIVER}\n{after}").code is FailureCode.INTERNAL_DRIVER_ERROR


# What comes before any table.


@pytest.mark.parametrize("error", ["OSError", "PermissionError", "Exception"])
def test_a_denied_address_is_that_whatever_the_table_says(check, error):
    with LoopbackServer(Peer.drain) as server:
        report = check(
            "import socket\n"
            f"with context.step('connect', {{{error}: FailureCode.AUTH_FAILED}}):\n"
            f"    socket.create_connection(('127.0.0.1', {server.port}))"
        )
        assert server.connections == 0
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize(
    "appetite",
    ["bytearray(4 * 2**30)", "hoard = []\n    while True: hoard.append(bytearray(2**24))"],
    ids=["at once", "by and by"],
)
def test_running_out_of_memory_is_that_whatever_the_table_says(check, appetite):
    report = check(f"with context.step('query', {{BaseException: FailureCode.AUTH_FAILED}}):\n    {appetite}")
    assert report.code is FailureCode.RESOURCE_LIMIT


def test_running_out_of_descriptors_is_no_failure_of_the_far_end(check):
    report = check(
        "import os\n"
        "with context.step('connect', {OSError: FailureCode.CONNECT_REFUSED}):\n"
        "    for _ in range(300): os.open('/dev/null', os.O_RDONLY)"
    )
    assert (report.code, report.error_type) == (FailureCode.INTERNAL_DRIVER_ERROR, "OSError")
