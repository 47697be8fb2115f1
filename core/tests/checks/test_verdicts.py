"""The report of a connection test, by what the test did."""

import pytest

from connectory.checks.report import CheckReport
from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer, Peer

SECRET = "open-sesame-4711"


def steps(report: CheckReport) -> list[tuple[str, str]]:
    return [(step.name, step.status) for step in report.steps]


def test_a_test_that_returns_has_succeeded(check):
    report = check(
        """
        import time
        with context.step("connect"):
            time.sleep(0.02)
        context.skip_step("tls")
        with context.step("query"):
            pass
        """
    )
    assert (report.status, report.code, report.reason) == ("succeeded", None, None)
    assert steps(report) == [("connect", "passed"), ("tls", "skipped"), ("query", "passed")]
    assert 20 <= report.steps[0].elapsed_ms <= report.elapsed_ms


def test_a_step_that_is_skipped_while_it_is_open_was_not_offered(check):
    report = check(
        """
        with context.step("tls"):
            context.skip_step("tls")
        context.skip_step("schema")
        with context.step("query"):
            context.skip_step("warehouse")
        """
    )
    assert [(step.name, step.status, step.reason) for step in report.steps] == [
        ("tls", "skipped", "not_offered"),
        ("schema", "skipped", "not_requested"),
        ("query", "passed", None),
        ("warehouse", "skipped", "not_requested"),
    ]


def test_what_fails_after_a_step_was_skipped_is_not_the_failure_of_that_step(check):
    report = check(
        """
        with context.step("connect"):
            pass
        with context.step("tls"):
            context.skip_step("tls")
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
        """
    )
    assert (report.code, steps(report)) == (
        FailureCode.PROTOCOL_MISMATCH,
        [("connect", "failed"), ("tls", "skipped")],
    )


@pytest.mark.parametrize(
    ("told", "encrypted", "verified"),
    [
        ("pass", None, None),
        ("context.skip_step('tls')", False, False),
        ("context.skip_step('query')", None, None),
        ("context.report_tls(verified=False)", True, False),
        ("context.report_tls(verified=True)", True, True),
        ("context.report_tls(verified=True); context.report_tls(verified=False)", True, False),
        ("context.report_tls(verified=False); context.report_tls(verified=True)", True, False),
        ("context.skip_step('tls'); context.report_tls(verified=True)", False, False),
        ("context.report_tls(verified=True); raise CheckFailed(FailureCode.AUTH_FAILED)", True, True),
        ("context.report_tls(verified=True); import os; os.abort()", True, True),
    ],
)
def test_the_report_says_how_the_weakest_connection_is_protected(check, told, encrypted, verified):
    """However the test ends."""
    report = check(told)
    assert (report.encrypted, report.verified) == (encrypted, verified)


def test_a_step_called_tls_proves_nothing(check):
    report = check("with context.step('tls'): pass")
    assert (steps(report), report.encrypted, report.verified) == ([("tls", "passed")], None, None)


def test_verified_is_yes_or_no(check):
    assert check("context.report_tls(verified=None)").error_type == "ValueError"


@pytest.mark.parametrize("allowed", [False, True])
def test_a_password_travels_in_clear_through_verified_tls_or_where_the_deployer_allows_it(check, allowed):
    told = """
    def refusal():
        failure = context.cleartext_refusal()
        return failure and (failure.code.value, failure.remedy and "set ssl_mode" in failure.remedy)
    plain, unverified = ("insecure_auth_refused", None), ("insecure_auth_refused", True)
    assert refusal() == plain
    context.skip_step("tls")
    assert refusal() == plain
    context.report_tls(verified=True)
    assert refusal() is None
    context.report_tls(verified=False)
    """
    expected = "None" if allowed else "unverified"
    assert check(told + f"assert refusal() == {expected}", cleartext_unverified=allowed).status == "succeeded"


def test_another_connection_starts_unprotected(check):
    told = """
    context.report_tls(verified=True)
    connection, _ = context.connect("127.0.0.1", {port})
    connection.close()
    raise context.cleartext_refusal()
    """
    with LoopbackServer(Peer.drain) as server:
        report = check(told.format(port=server.port))
    assert (report.code, report.reason) == (
        FailureCode.INSECURE_AUTH_REFUSED,
        FailureCode.INSECURE_AUTH_REFUSED.reason,
    )


def test_a_test_that_has_nothing_to_do_is_skipped(check):
    report = check("raise CheckSkipped")
    assert (report.status, report.code, report.reason, report.steps) == ("skipped", None, None, ())


def test_the_test_receives_the_secrets_as_its_own_model(check):
    report = check(f"assert type(secrets) is Scripted and secrets.token.get_secret_value() == {SECRET!r}")
    assert report.status == "succeeded"


@pytest.mark.parametrize("code", list(FailureCode))
def test_every_code_that_a_test_raises_is_reported_with_our_sentence(check, codes, code: FailureCode):
    report = check(codes, document={"token": code.value})
    assert (report.status, report.code, report.reason) == ("failed", code, code.reason)


@pytest.fixture(scope="module")
def codes(connector_of):
    """A connector whose secret says which code to fail with."""
    return connector_of("raise CheckFailed(FailureCode(secrets.token.get_secret_value()))")


@pytest.mark.parametrize(
    ("given", "wait", "said"),
    [
        ("30", 30, "try again in 30 seconds."),
        ("0.2", 1, "try again in 1 second."),
        ("0", 0, "try again in 0 seconds."),
        ("2.0**40", 86400, "try again in 86400 seconds."),
    ],
)
def test_the_time_to_wait_that_the_far_end_gave_is_reported_and_said(check, given: str, wait: int, said: str):
    report = check(f"raise CheckFailed(FailureCode.RATE_LIMITED, retry_after={given})")
    assert (report.retry_after, type(report.retry_after)) == (wait, int)
    assert report.reason == f"The service refuses further requests for now; {said}"


def test_a_plugins_own_remedy_says_the_time_to_wait_too(check):
    report = check("raise CheckFailed(FailureCode.RATE_LIMITED, remedy='The day is over.', retry_after=7)")
    assert report.reason == "The day is over. Try again in 7 seconds."


def test_only_who_limits_requests_asks_for_a_wait(check):
    report = check("raise CheckFailed(FailureCode.HTTP_5XX, retry_after=7)")
    assert (report.code, report.reason, report.retry_after) == (
        FailureCode.HTTP_5XX,
        FailureCode.HTTP_5XX.reason,
        None,
    )


@pytest.mark.parametrize("nonsense", ["float('nan')", "float('inf')", "-1", "'30'"])
def test_a_time_to_wait_that_is_none_is_left_out(check, nonsense: str):
    report = check(f"raise CheckFailed(FailureCode.RATE_LIMITED, retry_after={nonsense})")
    assert (report.code, report.retry_after) == (FailureCode.RATE_LIMITED, None)


def test_a_plugins_own_remedy_replaces_ours(check):
    report = check("raise CheckFailed(FailureCode.AUTH_FAILED, remedy='Ask Ledger for a new token.')")
    assert report.reason == "Ask Ledger for a new token."


@pytest.mark.parametrize(
    "remedy", [f"'The token {SECRET} is wrong.'", "'x' * 501", r"'two\nlines'", r"'red \x1b[31m'", "7", "''"]
)
def test_a_remedy_that_holds_a_secret_or_is_no_sentence_is_not_used(check, remedy: str):
    report = check(f"raise CheckFailed(FailureCode.AUTH_FAILED, remedy={remedy})")
    assert report.reason == FailureCode.AUTH_FAILED.reason


def test_a_short_secret_that_occurs_in_a_remedy_by_chance_does_not_suppress_it(check):
    report = check("raise CheckFailed(FailureCode.AUTH_FAILED, remedy='Ask an admin.')", document={"token": "ask"})
    assert report.reason == "Ask an admin."


# Which step a failure belongs to.


def test_the_open_step_is_the_one_that_failed(check):
    report = check(
        """
        with context.step("connect"):
            pass
        with context.step("authenticate"):
            raise CheckFailed(FailureCode.AUTH_FAILED)
        """
    )
    assert steps(report) == [("connect", "passed"), ("authenticate", "failed")]


def test_a_failure_that_names_its_step_fails_that_one(check):
    report = check(
        """
        with context.step("connect"):  # a driver that does all in one call
            raise CheckFailed(FailureCode.AUTH_FAILED, step="authenticate")
        """
    )
    assert steps(report) == [("connect", "passed"), ("authenticate", "failed")]


def test_a_failure_between_steps_belongs_to_the_last_one_taken(check):
    report = check(
        """
        with context.step("connect"):
            pass
        context.skip_step("tls")
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
        """
    )
    assert steps(report) == [("connect", "failed"), ("tls", "skipped")]


def test_a_failure_before_any_step_adds_none(check):
    assert check("raise CheckFailed(FailureCode.AUTH_FAILED)").steps == ()


def test_opening_a_step_ends_the_one_before(check):
    report = check(
        """
        with context.step("connect"):
            with context.step("tls"):
                with context.step("authenticate"):
                    raise CheckFailed(FailureCode.AUTH_FAILED)
        """
    )
    assert steps(report) == [("connect", "passed"), ("tls", "passed"), ("authenticate", "failed")]


def test_a_step_that_failed_and_was_got_over_shows_in_a_success(check):
    report = check(
        """
        try:
            with context.step("tls"):
                raise OSError
        except OSError:
            pass
        with context.step("query"):
            pass
        """
    )
    assert report.status == "succeeded"
    assert steps(report) == [("tls", "failed"), ("query", "passed")]


@pytest.mark.parametrize("name", ["''", "'Two words'", "'x' * 41", "'ä'"])
def test_a_step_must_have_a_plain_name(check, name: str):
    report = check(f"context.skip_step({name})")
    assert (report.code, report.error_type) == (FailureCode.INTERNAL_DRIVER_ERROR, "ValueError")


def test_endless_steps_end(check):
    report = check("while True: context.skip_step('again')")
    assert (report.code, report.error_type, len(report.steps)) == (FailureCode.INTERNAL_DRIVER_ERROR, "ValueError", 64)


# What is raised besides verdicts.


@pytest.mark.parametrize(
    ("raised", "name"),
    [
        ("RuntimeError(secrets.token.get_secret_value())", "RuntimeError"),
        ("SystemExit(0)", "SystemExit"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("BaseException(secrets.token.get_secret_value())", "BaseException"),
        ("type('Odd Name', (Exception,), {})", "Odd Name"),
        ("ExceptionGroup('many', [ValueError(), CheckFailed(FailureCode.AUTH_FAILED)])", "ExceptionGroup"),
    ],
)
def test_any_other_exception_is_reported_by_its_class_alone(check, raised: str, name: str):
    report = check(f"raise {raised}")
    assert (report.code, report.error_type) == (FailureCode.INTERNAL_DRIVER_ERROR, name)
    assert SECRET not in repr(report)


def test_a_recursion_without_end_is_an_internal_error(check):
    report = check("def again(): again()\nagain()")
    assert (report.code, report.error_type) == (FailureCode.INTERNAL_DRIVER_ERROR, "RecursionError")


def test_a_test_that_returns_something_has_not_succeeded(check):
    assert check("return False").code is FailureCode.INTERNAL_DRIVER_ERROR


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("resolve", FailureCode.DNS_TIMEOUT),
        ("connect", FailureCode.CONNECT_TIMEOUT),
        ("authenticate", FailureCode.TIMEOUT),
    ],
)
def test_a_time_out_of_the_driver_is_named_after_its_step(check, step: str, code: FailureCode):
    report = check(f"with context.step({step!r}): raise TimeoutError")
    assert (report.code, steps(report)) == (code, [(step, "failed")])


def test_a_module_that_is_missing_during_the_test_is_a_missing_driver(check, connector_of):
    connector = connector_of("import ledger_driver.wire")
    report = check(connector)
    assert report.code is FailureCode.DRIVER_MISSING
    assert report.reason == (
        "The module 'ledger_driver' cannot be imported; "
        f"run: pip install --force-reinstall {connector.record.distribution}"
    )


def test_a_driver_that_is_named_and_missing_is_a_missing_driver(check, connector_of):
    connector = connector_of(drivers={"ledger_missing": None})
    report = check(connector)
    assert report.code is FailureCode.DRIVER_MISSING
    assert "'ledger_missing'" in report.reason
    assert connector.record.distribution in report.reason


def test_a_driver_whose_library_is_missing_is_a_missing_driver(check, connector_of):
    # What pyodbc does where unixODBC is not installed.
    connector = connector_of(drivers={"ledger_native": "raise ImportError('libledger.so.2: cannot open')"})
    report = check(connector)
    assert report.code is FailureCode.DRIVER_MISSING
    assert "libledger" not in report.reason


def test_secrets_that_no_longer_fit_the_schema_are_unreadable(check):
    report = check("pass", document={"password": SECRET})
    assert report.code is FailureCode.SECRETS_UNREADABLE
    assert "send a complete set" in report.reason


def test_secrets_that_are_too_large_for_a_job_are_refused(check):
    assert check("pass", document={"token": "x" * 2**20}).code is FailureCode.SECRETS_UNREADABLE


def test_secrets_larger_than_a_pipe_holds_arrive(check, connector_of):
    large = "@hookimpl\ndef connectory_secret_schema():\n    return Large\n"
    connector = connector_of(
        "assert secrets.token.get_secret_value() == 'x' * 500_000",
        hooks="from connectory import Text\nfrom pydantic import SecretStr\nfrom typing import Annotated\n"
        "class Large(Secrets):\n    token: Annotated[SecretStr, Text(max_length=500_000)]\n" + large,
    )
    assert check(connector, document={"token": "x" * 500_000}).status == "succeeded"


# Tests that do not come back by themselves.


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("resolve", FailureCode.DNS_TIMEOUT),
        ("connect", FailureCode.CONNECT_TIMEOUT),
        ("query", FailureCode.TIMEOUT),
        (None, FailureCode.TIMEOUT),
    ],
)
def test_a_test_that_hangs_is_ended_at_its_deadline_and_named_after_its_step(check, step, code):
    hang = f"with context.step({step!r}): time.sleep(60)" if step else "time.sleep(60)"
    report = check(f"import time\n{hang}", deadline=0.7)
    assert report.code is code
    assert 700 <= report.elapsed_ms < 5000  # it would hang for a minute
    assert steps(report) == ([(step, "failed")] if step else [])


@pytest.mark.parametrize(
    "loop",
    [
        "import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')",
        "3 ** (10 ** 9)",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    ],
)
def test_a_loop_in_native_code_that_never_yields_is_ended_at_its_deadline(check, loop: str):
    report = check(loop, deadline=0.7)
    assert report.code is FailureCode.TIMEOUT
    assert report.elapsed_ms < 5000


def test_a_silent_server_is_a_time_out_that_the_driver_notices_before_the_kill(check):
    with LoopbackServer(Peer.drain) as server:
        report = check(
            f"""
            connection, address = context.connect("localhost", {server.port})
            with connection, context.step("authenticate"):
                connection.recv(1)
            """,
            deadline=2,
        )
    assert report.code is FailureCode.TIMEOUT
    assert steps(report) == [("resolve", "passed"), ("connect", "passed"), ("authenticate", "failed")]
    assert 800 < report.elapsed_ms < 1800


@pytest.mark.parametrize(
    "death",
    [
        "import ctypes\nctypes.string_at(0)",
        "import os\nos.abort()",
        "import os\nos._exit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nos._exit(3)",
    ],
)
def test_a_driver_that_ends_the_process_has_crashed(check, death: str):
    report = check(f"with context.step('query'):\n    {death.replace(chr(10), chr(10) + '    ')}")
    assert (report.status, report.code) == ("failed", FailureCode.CRASHED)
    assert steps(report) == [("query", "failed")]


@pytest.mark.parametrize(
    "appetite",
    [
        "bytearray(4 * 2**30)",
        "hoard = []\nwhile True: hoard.append(bytearray(2**24))",
        # What libpq does: it doubles a buffer, and when that fails says so in the text of an ordinary error.
        "buffer = bytearray(300 * 2**20)\ntry: bytearray(2**30)\nexcept MemoryError: pass\nraise RuntimeError('out of memory')",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nos.kill(os.getpid(), signal.SIGXFSZ)",
    ],
)
def test_a_test_that_takes_too_much_has_hit_a_limit(check, appetite: str):
    assert check(appetite).code is FailureCode.RESOURCE_LIMIT


def test_the_memory_of_a_test_is_a_setting(check, connector_of):
    connector = connector_of("bytearray(100 * 2**20)")
    assert check(connector).status == "succeeded"
    assert check(connector, memory=2**26).code is FailureCode.RESOURCE_LIMIT
