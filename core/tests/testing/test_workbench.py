"""The workbench tests connections as the service does, for as many tests as a session has."""

import pytest

from connectory import FailureCode
from connectory.testing import SecretsInvalid, Workbench, load_connector, silent_server, step_statuses
from testkit.distribution import install, plugin_source

BODY = """
@hookimpl
def connectory_test_connection(secrets, context):
    import os
    from connectory import CheckFailed, FailureCode
    what = secrets.token.get_secret_value()
    with context.step("authenticate"):
        if what == "hang":
            import time
            time.sleep(60)
        if what == "certificates":
            raise CheckFailed(FailureCode.AUTH_FAILED, remedy=f"It is {os.environ.get('SSL_CERT_FILE')}.")
        if what == "tokens":
            context.store_tokens({"access_token": "issued-4711", "before": (context.tokens or {}).get("access_token")})
        if what == "break":
            raise LookupError("nothing")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A connector whose test does what its token says."""
    site = tmp_path_factory.mktemp("bench")
    source = plugin_source("benched", hooks={"connectory_test_connection": BODY})
    install(site, "connectory-benched", entry_points={"benched": "benched"}, modules={"benched": source})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield "benched", "connectory-benched"


def test_an_outcome_is_the_report_and_the_seconds(workbench, made):
    report, seconds = workbench.test(*made, {"token": "work"})
    assert (report.status, report.code) == ("succeeded", None)
    assert step_statuses(report) == {"authenticate": "passed"}
    assert report.elapsed_ms / 1000 <= seconds < 10


def test_each_deadline_is_kept(workbench, made):
    workbench.import_ahead(*made, {"token": "work"}, deadline=1)
    report, seconds = workbench.test(*made, {"token": "hang"}, deadline=1)
    assert report.code is FailureCode.TIMEOUT
    assert 0.9 < seconds < 3
    assert workbench.test(*made, {"token": "work"}).report.status == "succeeded"


def test_several_are_tested_at_once_and_answered_in_order(workbench, made):
    workbench.import_ahead(*made, {"token": "work"}, deadline=5)
    outcomes = workbench.test_all(*made, [{"token": word} for word in ("hang", "break", "work", "hang")], deadline=5)
    codes = [outcome.report.code for outcome in outcomes]
    assert codes == [FailureCode.TIMEOUT, FailureCode.INTERNAL_DRIVER_ERROR, None, FailureCode.TIMEOUT]
    assert max(outcome.seconds for outcome in outcomes) < 9


def test_secrets_that_do_not_fit_are_refused_before_anything_is_tested(workbench, made):
    with pytest.raises(SecretsInvalid, match="token"):
        workbench.test(*made, {})
    with pytest.raises(SecretsInvalid, match="token"):
        workbench.test_all(*made, [{"token": "work"}, {}])


def test_a_test_gets_the_environment_of_now(workbench, made, monkeypatch):
    """The trusted certificates are among what the service's environment passes on."""
    for path in ("/first.pem", "/second.pem", "/first.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", path)
        assert workbench.test(*made, {"token": "certificates"}).report.reason == f"It is {path}."


def test_a_report_is_printed_without_its_tokens(workbench, made, capsys):
    report = workbench.test(*made, {"token": "tokens"}, tokens={"access_token": "earlier-0815"}).report
    printed = capsys.readouterr().out
    assert report.tokens == {"access_token": "issued-4711", "before": "earlier-0815"}
    assert "benched" in printed
    assert "succeeded" in printed
    assert "issued-4711" not in printed


def test_what_an_exception_was_is_in_the_report(workbench, made):
    assert workbench.test(*made, {"token": "break"}).report.error_type == "LookupError"


def test_networks_may_be_denied_besides(made):
    with silent_server() as server, Workbench(deny=["127.0.0.0/8"]) as strict:
        secrets = {"host": server.host, "port": server.port, "username": "u", "password": "p"}
        report = strict.test("postgres", "connectory-postgres", secrets).report
        assert (report.code, server.connections) == (FailureCode.ADDRESS_NOT_ALLOWED, 0)


def test_a_connector_that_is_not_there_is_said_to_be_so(workbench):
    with pytest.raises(LookupError, match="connectory-nowhere declares no connector 'nowhere'"):
        workbench.test("nowhere", "connectory-nowhere", {})


def test_a_distribution_may_be_spelt_as_people_do(made):
    assert load_connector(made[0], "Connectory_Benched").identifier == "benched"
