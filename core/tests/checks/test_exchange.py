"""Exchanging an authorization code: in a process like a test's, to the same deadline, with tokens as the result."""

import asyncio
import signal
from contextlib import contextmanager

import pytest

from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner, Exchange
from connectory.checks.token_turn import GivenTokens
from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer
from testkit.offspring import Offspring, striking

CODE = Exchange("code-3f7a91", "verifier-88c2d0")

AUTHORIZATION = """
from connectory.consent import Authorization


@hookimpl
def connectory_authorization(secrets):
    if secrets.token.get_secret_value() == "no consent":
        return None
    return Authorization("https://books.example/consent", "https://books.example/token", "me", "https://me.example/back")


@hookimpl
def connectory_exchange_code(code, code_verifier, context):
    {body}
"""
STORING = "context.store_tokens({'access_token': code + '/' + str(code_verifier), 'before': context.tokens})"


@pytest.fixture
def exchanging(connector_of):
    """A connector whose exchange does `body`."""
    return lambda body=STORING: connector_of("raise RuntimeError", hooks=AUTHORIZATION.format(body=body))


@contextmanager
def running(*, allow_loopback: bool = False, deadline: float = 10):
    with asyncio.Runner() as loop:
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=allow_loopback), deadline=deadline)
        loop.run(runner.start())
        try:
            yield lambda connector, document={"token": "t0ken-4711"}, **options: loop.run(
                runner.run(object(), connector, lambda: document, **options)
            )
        finally:
            loop.run(runner.stop())


def test_a_code_becomes_tokens_and_no_test_runs(exchanging):
    connector = exchanging()
    with running() as run:
        report = run(connector, exchange=CODE)
        assert report.status == "succeeded"
        assert report.tokens == {"access_token": "code-3f7a91/verifier-88c2d0", "before": None}
        without = run(connector, exchange=Exchange("c0de", None), turn=GivenTokens({"access_token": "old"}))
    assert without.tokens == {"access_token": "c0de/None", "before": {"access_token": "old"}}
    assert "code-3f7a91" not in repr(CODE)
    assert "verifier-88c2d0" not in repr(CODE)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("raise CheckFailed(FailureCode.AUTH_FAILED)", FailureCode.AUTH_FAILED),
        ("pass", FailureCode.INTERNAL_DRIVER_ERROR),
        ("return {'access_token': 'x'}", FailureCode.INTERNAL_DRIVER_ERROR),
        ("raise ValueError(code)", FailureCode.INTERNAL_DRIVER_ERROR),
        ("import time; time.sleep(60)", FailureCode.TIMEOUT),
        ("import os; os.abort()", FailureCode.CRASHED),
        ("context.connect('169.254.169.254', 80)", FailureCode.ADDRESS_NOT_ALLOWED),
    ],
    ids=["refused", "no tokens", "returned", "raised", "hung", "crashed", "denied"],
)
def test_an_exchange_fails_as_a_test_does(exchanging, body, code):
    with running(deadline=2 if code is FailureCode.TIMEOUT else 30) as run:
        report = run(exchanging(body), exchange=CODE)
    assert (report.status, report.code, report.tokens) == ("failed", code, None)
    assert "code-3f7a91" not in repr(report)


def test_a_code_is_not_exchanged_again_when_its_fork_server_is_lost(exchanging):
    attempts = []

    class Counting(GivenTokens):
        async def take(self, patience):
            attempts.append("taken")

    with LoopbackServer(striking(Offspring(), signal.SIGKILL)) as server:
        body = f"context.connect('127.0.0.1', {server.port})[0].recv(1)"
        with running(allow_loopback=True) as run:
            report = run(exchanging(body), exchange=CODE, turn=Counting(None))
    assert report.code == FailureCode.CRASHED
    assert attempts == ["taken"]


def test_a_connector_that_exchanges_no_codes_fails(connector_of):
    with running() as run:
        assert run(connector_of(), exchange=CODE).code == FailureCode.INTERNAL_DRIVER_ERROR


@pytest.mark.parametrize("shown", ["code", "code_verifier", "context.tokens['refresh_token']"])
def test_a_remedy_that_holds_what_was_exchanged_is_not_shown(exchanging, shown):
    body = f"raise CheckFailed(FailureCode.AUTH_FAILED, remedy='bad: ' + {shown})"
    with running() as run:
        report = run(exchanging(body), exchange=CODE, turn=GivenTokens({"refresh_token": "refresh-19e0"}))
    assert report.reason.startswith("The server rejected the credentials")


# The test of a connection that needs consent


@pytest.fixture
def consenting(connector_of):
    """A connector that says that it needs consent, and whose test succeeds."""
    described = "@hookimpl\ndef connectory_describe():\n    return Description(authorization_required=True)\n"
    return connector_of(hooks=AUTHORIZATION.format(body=STORING) + described)


def test_without_tokens_the_test_names_where_to_authorize(consenting):
    with running() as run:
        report = run(consenting)
        assert (report.code, report.steps) == (FailureCode.AUTH_FAILED, ())
        assert report.reason.endswith("GET /api/v1/connection/{key}/authorize answers.")
        assert run(consenting, turn=GivenTokens({"access_token": "t"})).status == "succeeded"


def test_secrets_that_need_no_consent_are_tested_without_tokens(consenting):
    with running() as run:
        assert run(consenting, {"token": "no consent"}).status == "succeeded"
