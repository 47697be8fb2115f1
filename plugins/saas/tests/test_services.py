"""Each service: what its connector sends, and the code that each kind of answer gets."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import CheckReport, step_statuses
from servers import saas
from servers.saas import VENDORS, AdobeCampaign, ConsentVendor, Salesforce, Segment, TokenVendor, Vendor, misbehaviour
from servers.saas.web import misbehaving
from testkit.checking import Check
from testkit.loopback import LoopbackServer, Peer

Ask = Callable[..., CheckReport]
ALLOW_LOOPBACK = {"CONNECTORY_SAAS_ALLOW_HTTP_LOOPBACK": "true"}


@pytest.fixture(scope="module", params=VENDORS, ids=lambda vendor: vendor.identifier)
def vendor(request: pytest.FixtureRequest) -> Iterator[Vendor]:
    with request.param() as server:
        yield server


@pytest.fixture
def ask(check: Check, vendor: Vendor) -> Ask:
    """Test a connection to the vendor, to which somebody has consented where that is needed."""

    def ask(**details: Any) -> CheckReport:
        tokens = vendor.stored() if isinstance(vendor, ConsentVendor) else None
        return check(vendor, **{"tokens": tokens} | details)

    return ask


def test_right_secrets_succeed(ask: Ask) -> None:
    report = ask()
    assert (report.status, report.code, report.reason) == ("succeeded", None, None)
    steps = list(step_statuses(report).items())
    assert steps[:3] == [("resolve", "passed"), ("connect", "passed"), ("tls", "skipped")]
    assert (report.encrypted, report.verified) == (False, False)
    assert {status for _, status in steps[3:]} == {"passed"}
    assert [name for name, _ in steps[3:]] in (["authenticate"], ["query"], ["authenticate", "query"])


def test_nothing_of_the_services_own_environment_is_sent(
    ask: Ask, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    before = len(vendor.asked)
    assert ask().status == "succeeded"
    for asked in vendor.asked[before:]:
        assert asked.headers["user-agent"] == "connectory"
        assert asked.headers["host"] == f"127.0.0.1:{vendor.port}"
        assert "cookie" not in asked.headers


def test_each_kind_of_wrong_secrets_gets_its_code_and_a_remedy(ask: Ask, vendor: Vendor) -> None:
    for code, changes in vendor.wrong.items():
        report = ask(**changes)
        assert report.code == code, changes
        assert report.steps[-1].status == "failed"
        assert report.reason
        assert not any(value in report.reason for value in changes.values())


def test_a_rate_limit_says_how_long_the_vendor_wants_us_to_wait(ask: Ask, vendor: Vendor) -> None:
    vendor.limited = True
    try:
        report = ask()
    finally:
        vendor.limited = False
    assert report.code == FailureCode.RATE_LIMITED
    if vendor.identifier == "mailchimp":  # it names no time
        assert report.retry_after is None
    else:
        assert report.retry_after is not None
        assert vendor.wait - 2 <= report.retry_after <= vendor.wait + 1


@pytest.mark.parametrize("status", [500, 503])
def test_an_error_of_the_vendors_own(ask: Ask, vendor: Vendor, status: int) -> None:
    with misbehaving(vendor, misbehaviour.answers(status, b"<h1>Sorry</h1>", Content_Type="text/html")):
        assert ask().code == FailureCode.HTTP_5XX


def test_another_refusal_of_the_vendors(ask: Ask, vendor: Vendor) -> None:
    with misbehaving(vendor, misbehaviour.answers(418, b"{}", Content_Type="application/json")):
        assert ask().code == FailureCode.HTTP_4XX


def test_a_redirect_is_not_followed(ask: Ask, vendor: Vendor) -> None:
    with LoopbackServer(Peer.drain, name="elsewhere") as elsewhere:
        target = f"http://{elsewhere.host}:{elsewhere.port}/"
        with misbehaving(vendor, misbehaviour.raw(302, target.encode())):
            assert ask().code == FailureCode.UNEXPECTED_REDIRECT
        assert elsewhere.connections == 0


def test_a_page_instead_of_json(ask: Ask, vendor: Vendor) -> None:
    with misbehaving(vendor, misbehaviour.page()):
        assert ask().code == FailureCode.PROTOCOL_MISMATCH


def test_json_of_some_other_service(ask: Ask, vendor: Vendor) -> None:
    with misbehaving(vendor, misbehaviour.answers(200, b'"hello"', Content_Type="application/json")):
        assert ask().code == FailureCode.PROTOCOL_MISMATCH


def test_a_slow_drip_ends_in_time(ask: Ask, vendor: Vendor) -> None:
    with misbehaving(vendor, misbehaviour.drip):
        report = ask(deadline=2)
    assert report.code == FailureCode.TIMEOUT
    assert report.elapsed_ms < 6000


def test_an_answer_without_end_is_not_taken(ask: Ask, vendor: Vendor) -> None:
    with misbehaving(vendor, misbehaviour.flood):
        report = ask()
    assert report.code == FailureCode.RESOURCE_LIMIT
    assert report.elapsed_ms < 5000


def test_the_whole_of_it_works_on_a_domain_on_loopback(check: Check) -> None:
    for kind in VENDORS:
        if kind is AdobeCampaign:  # its login host is no secret of the connection
            continue
        with kind() as vendor:
            here = f"127.0.0.1:{vendor.port}"
            changes = {"domain": here}
            changes |= {"personas_domain": here} if kind is Segment else {}
            changes |= {"token_refresh_url": here} if kind is Salesforce else {}
            if isinstance(vendor, saas.Auth0):
                vendor.audience = f"https://{here}/api/v2/"
            tokens = vendor.stored() if isinstance(vendor, ConsentVendor) else None
            report = check(vendor, settings=ALLOW_LOOPBACK, tokens=tokens, **changes)
            assert report.status == "succeeded", (kind, report)
            assert vendor.asked


def test_an_account_that_zendesk_does_not_know(check: Check) -> None:
    with saas.Zendesk() as vendor, misbehaving(vendor, misbehaviour.answers(404)):
        report = check(vendor, domain="nobody.zendesk.com")
    assert report.code == FailureCode.HTTP_4XX
    assert "subdomain" in (report.reason or "")


def test_salesforces_daily_limit_is_told_from_a_missing_permission(check: Check) -> None:
    with Salesforce() as vendor:
        vendor.used_up = True
        assert check(vendor, tokens=vendor.stored()).code == FailureCode.RATE_LIMITED
        vendor.poor = True
        assert check(vendor, tokens=vendor.stored()).code == FailureCode.PERMISSION_DENIED


def test_outreach_and_a_consent_that_is_not_enough(check: Check) -> None:
    with saas.Outreach() as vendor:
        vendor.poor = True
        assert check(vendor, tokens=vendor.stored()).code == FailureCode.PERMISSION_DENIED


def test_an_unknown_organization_of_adobes_is_told_by_its_remedy(check: Check) -> None:
    with AdobeCampaign() as vendor:
        report = check(vendor, organization="nowhere")
    assert report.code == FailureCode.HTTP_5XX
    assert "check organization" in (report.reason or "")


def test_segment_asks_both_of_its_apis(check: Check) -> None:
    with Segment() as vendor:
        report = check(vendor)
        assert list(step_statuses(report)) == ["resolve", "connect", "tls", "authenticate", "query"]
        assert [asked.path.rpartition("/")[2] for asked in vendor.asked] == ["", "metadata"]
        assert check(vendor, access_token="sgp_unknown").code == FailureCode.AUTH_FAILED


def test_values_stay_within_their_segment_of_a_path(check: Check) -> None:
    with Segment() as vendor:
        check(vendor, namespace_id="a/../b?c=d#e%2Ff g")
        [asked] = [asked for asked in vendor.asked if asked.path != "/"]
        assert asked.segments[2] == "a/../b?c=d#e%2Ff g"
        assert asked.query == {}


def test_only_vendors_that_issue_tokens_are_asked_for_one(check: Check) -> None:
    for kind in VENDORS:
        with kind() as vendor:
            check(vendor, tokens=vendor.stored() if isinstance(vendor, ConsentVendor) else None)
            issues = isinstance(vendor, TokenVendor) and not isinstance(vendor, ConsentVendor)
            assert (len(vendor.asked) > len(vendor.api_requests())) == issues
