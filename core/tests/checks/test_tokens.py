"""Tokens that a connector obtains: those of an earlier run go in, this one's come out, and nothing else shows them."""

import asyncio
import signal
from contextlib import contextmanager

import pytest

from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from connectory.checks.token_turn import GivenTokens
from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer
from testkit.offspring import Offspring, striking

TOKEN = "refresh-7c1f09aa"
DOCUMENT = {"token": "open-sesame-4711"}


@contextmanager
def running(deadline: float = 10, *, allow_loopback: bool = False):
    with asyncio.Runner() as loop:
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=allow_loopback), deadline=deadline)
        loop.run(runner.start())
        try:
            yield lambda connector, tokens=None: loop.run(
                runner.run(object(), connector, lambda: DOCUMENT, GivenTokens(tokens))
            )
        finally:
            loop.run(runner.stop())


def test_tokens_go_in_and_come_out(connector_of):
    renewing = connector_of(
        """
        assert context.tokens in (None, {"refresh_token": "refresh-7c1f09aa", "expires_at": 7.5})
        context.store_tokens({"before": context.tokens is not None, "refresh_token": "renewed"})
        assert context.tokens["refresh_token"] == "renewed"
        """
    )
    with running() as run:
        assert run(renewing).tokens == {"before": False, "refresh_token": "renewed"}
        report = run(renewing, {"refresh_token": TOKEN, "expires_at": 7.5})
    assert report.status == "succeeded"
    assert report.tokens == {"before": True, "refresh_token": "renewed"}
    assert "renewed" not in repr(report)


def test_a_test_that_stores_none_reports_none(check):
    assert check("assert context.tokens is None").tokens is None


def test_tokens_survive_a_test_that_fails_is_killed_or_crashes(connector_of):
    store = "context.store_tokens({'refresh_token': 'renewed'})\n"
    for end, code in {
        "raise CheckFailed(FailureCode.RATE_LIMITED)": FailureCode.RATE_LIMITED,
        "import time; time.sleep(60)": FailureCode.TIMEOUT,
        "import os; os.abort()": FailureCode.CRASHED,
    }.items():
        with running(deadline=5 if code is FailureCode.TIMEOUT else 30) as run:
            report = run(connector_of(store + end))
        assert (report.code, report.tokens) == (code, {"refresh_token": "renewed"})


@pytest.mark.parametrize("tokens", ["{'t': object()}", "{'t': float('nan')}", "{'t': 'x' * 40000}", "7"])
def test_what_is_no_small_json_is_refused_in_the_plugin(check, tokens):
    report = check(f"context.store_tokens({tokens})")
    assert (report.code, report.error_type, report.tokens) == (
        FailureCode.INTERNAL_DRIVER_ERROR,
        "ValueError",
        None,
    )


def test_a_remedy_that_holds_a_token_is_not_shown(connector_of):
    telling = connector_of("raise CheckFailed(FailureCode.AUTH_FAILED, remedy='bad: ' + context.tokens['t'])")
    with running() as run:
        report = run(telling, {"t": TOKEN})
    assert report.code == FailureCode.AUTH_FAILED
    assert TOKEN not in repr(report)


def test_stored_tokens_that_cannot_be_opened_are_raised_to_the_caller(connector_of):
    class Unreadable(GivenTokens):
        async def take(self, patience):
            raise LookupError

    with asyncio.Runner() as loop:
        runner = CheckRunner(policy=EgressPolicy())
        loop.run(runner.start())
        with pytest.raises(LookupError):
            loop.run(runner.run("one", connector_of(), lambda: DOCUMENT, Unreadable(None)))
        loop.run(runner.stop())


def test_tokens_that_nobody_can_write_out_are_a_crash(connector_of):
    """Whoever stores them must be able to."""
    nested = "[" * 40 + "]" * 40
    line = f'{{"event": "tokens", "tokens": {{"a": {nested}}}}}'
    writing = f"""
        import os
        for descriptor in range(3, 20):
            try: os.write(descriptor, {line!r}.encode() + b"\\n")
            except OSError: pass
        """
    with running() as run:
        report = run(connector_of(writing))
    assert (report.code, report.tokens) == (FailureCode.CRASHED, None)


def test_a_test_that_was_given_tokens_is_not_run_again_when_its_fork_server_is_lost(connector_of):
    """It may have used them. What it was given for them is there all the same, and the connection is not to blame."""
    with LoopbackServer(striking(Offspring(), signal.SIGKILL)) as server:
        renewing = connector_of(
            f"""
            context.store_tokens({{"refresh_token": "renewed"}})
            context.connect("127.0.0.1", {server.port})[0].recv(1)
            """
        )
        with running(allow_loopback=True) as run:
            report = run(renewing, {"refresh_token": TOKEN})
        assert server.connections == 1
    assert (report.code, report.conclusive) == (FailureCode.CRASHED, False)
    assert report.tokens == {"refresh_token": "renewed"}
