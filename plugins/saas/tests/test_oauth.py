"""OAuth 2.0 tokens: obtained, kept by the service, renewed before they end, and what the failures are called."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectory import FailureCode
from connectory.catalog.catalog import find_connector
from connectory.checks.report import CheckReport
from connectory.documents.validation import parse_secrets
from connectory.toolkit import Address, Link
from servers import saas
from servers.saas import ConsentVendor, misbehaviour
from servers.saas.web import Answer, as_json, misbehaving

Check = Callable[..., CheckReport]


def step_names(report: CheckReport) -> list[str]:
    return [step.name for step in report.steps]


class TestClientCredentials:
    @pytest.fixture
    def auth0(self) -> Iterator[saas.Auth0]:
        with saas.Auth0() as server:
            yield server

    def test_a_token_is_obtained_and_handed_over_to_be_kept(self, check: Check, auth0: saas.Auth0) -> None:
        report = check(auth0)
        assert report.status == "succeeded"
        assert step_names(report) == ["resolve", "connect", "tls", "authenticate", "query"]
        assert report.tokens is not None
        assert report.tokens["access_token"] in auth0.good
        assert 86000 < report.tokens["expires_at"] - time.time() <= 86400
        assert report.tokens["access_token"] not in repr(report)

    def test_a_stored_token_is_used_while_it_lasts(self, check: Check, auth0: saas.Auth0) -> None:
        report = check(auth0, tokens=auth0.stored(lasts=700, refreshable=False))
        assert (report.status, report.tokens) == ("succeeded", None)
        assert auth0.token_requests() == []

    def test_a_token_is_renewed_before_it_ends(self, check: Check, auth0: saas.Auth0) -> None:
        before = auth0.stored(lasts=500, refreshable=False)
        report = check(auth0, tokens=before)
        assert report.status == "succeeded"
        assert report.tokens is not None
        assert report.tokens["access_token"] != before["access_token"]

    def test_a_token_that_was_revoked_is_replaced(self, check: Check, auth0: saas.Auth0) -> None:
        revoked = auth0.stored(refreshable=False)
        auth0.good.clear()
        report = check(auth0, tokens=revoked)
        assert report.status == "succeeded"
        assert len(auth0.token_requests()) == 1

    def test_a_token_that_is_refused_at_once_is_not_asked_for_again(
        self, check: Check, auth0: saas.Auth0, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(auth0, "resource", lambda _: as_json(401, {"error": "Unauthorized"}))
        assert check(auth0).code == FailureCode.AUTH_FAILED
        assert len(auth0.token_requests()) == 1

    def test_the_token_request_holds_what_auth0_documents(self, check: Check, auth0: saas.Auth0) -> None:
        check(auth0)
        assert auth0.token_requests() == [
            {
                "grant_type": "client_credentials",
                "client_id": "m2m-right",
                "client_secret": "right4711",
                "audience": "https://acme.eu.auth0.com/api/v2/",
            }
        ]

    @pytest.mark.parametrize(
        "secret", ["a+b&c=d%26", "a'b\"c<d>e", "~!@#$%^&*()_+", "\\x00", "=====", "a/b?c#d", "%zz;|`{}"]
    )
    def test_a_secret_arrives_exactly(self, check: Check, auth0: saas.Auth0, secret: str) -> None:
        check(auth0, client_secret=secret)
        assert [form["client_secret"] for form in auth0.token_requests()] == [secret]


class TestTokenEndpointsThatMisbehave:
    @pytest.fixture
    def auth0(self) -> Iterator[saas.Auth0]:
        with saas.Auth0() as server:
            yield server

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (as_json(401, {"error": "invalid_client"}), FailureCode.AUTH_FAILED),
            (as_json(400, {"error": "unauthorized_client"}), FailureCode.PERMISSION_DENIED),
            (as_json(400, {"error": "invalid_scope"}), FailureCode.PERMISSION_DENIED),
            (as_json(400, {"error": "something_new", "error_description": "marker-77"}), FailureCode.HTTP_4XX),
            (as_json(400, {"error": ["of", "another", "kind"]}), FailureCode.HTTP_4XX),
            (as_json(400, {}), FailureCode.HTTP_4XX),
            (as_json(401, "no"), FailureCode.AUTH_FAILED),
            (as_json(503, {"error": "temporarily_unavailable"}), FailureCode.HTTP_5XX),
            (as_json(302, {}, {"Location": "http://127.0.0.1:1/"}), FailureCode.UNEXPECTED_REDIRECT),
            (as_json(429, {"error": "rate"}, {"Retry-After": "9"}), FailureCode.RATE_LIMITED),
            (Answer(200, {"Content-Type": "text/html"}, b"<html>"), FailureCode.PROTOCOL_MISMATCH),
            (as_json(200, ["access_token"]), FailureCode.PROTOCOL_MISMATCH),
            (as_json(200, {}), FailureCode.PROTOCOL_MISMATCH),
            (as_json(200, {"access_token": 7}), FailureCode.PROTOCOL_MISMATCH),
            (as_json(200, {"access_token": "a\r\nX-Injected: 1"}), FailureCode.PROTOCOL_MISMATCH),
            (as_json(200, {"access_token": "a" * 20_000}), FailureCode.PROTOCOL_MISMATCH),
            (as_json(200, {"access_token": "a", "expires_in": "soon"}), FailureCode.PROTOCOL_MISMATCH),
        ],
    )
    def test_each_answer_has_its_code(
        self, check: Check, auth0: saas.Auth0, monkeypatch: pytest.MonkeyPatch, answer: Answer, code: FailureCode
    ) -> None:
        monkeypatch.setattr(auth0, "token", lambda _: answer)
        report = check(auth0)
        assert (report.code, report.tokens) == (code, None)
        assert report.steps[-1].name == "authenticate"
        assert "marker-77" not in repr(report)
        assert report.retry_after == (9 if code is FailureCode.RATE_LIMITED else None)
        assert auth0.api_requests() == []

    def test_a_page_instead_of_a_token(self, check: Check, auth0: saas.Auth0) -> None:
        with misbehaving(auth0, misbehaviour.page()):
            assert check(auth0).code == FailureCode.PROTOCOL_MISMATCH


class TestAdobesExchange:
    def test_the_token_comes_from_adobes_login_host_and_goes_with_the_clients_key(self, check: Check) -> None:
        with saas.AdobeCampaign() as adobe:
            report = check(adobe)
            [form] = adobe.token_requests()
            [asked] = adobe.api_requests()
        assert report.status == "succeeded"
        assert form["grant_type"] == "client_credentials"
        assert "campaign_sdk" in form["scope"].split(",")
        assert asked.headers["x-api-key"] == "key4711"
        assert report.tokens is not None
        assert asked.bearer == report.tokens["access_token"]

    def test_login_host_and_api_may_be_two(self, check: Check) -> None:
        import json

        with saas.AdobeCampaign() as login, saas.AdobeCampaign() as api:
            api.good = login.good
            endpoints = {"mc.adobe.io": api.url, "ims-na1.adobelogin.com": login.url}
            report = check(api, settings={"CONNECTORY_SAAS_ENDPOINTS": json.dumps(endpoints)})
            assert report.status == "succeeded"
            assert (len(login.token_requests()), len(login.api_requests())) == (1, 0)
            assert (len(api.token_requests()), len(api.api_requests())) == (0, 1)


@pytest.fixture(params=[saas.Outreach, saas.Salesforce], ids=["outreach", "salesforce"])
def consented(request: pytest.FixtureRequest) -> Iterator[ConsentVendor]:
    with request.param() as server:
        yield server


class TestConsent:
    def test_without_it_the_remedy_names_the_way_to_it(self, check: Check, consented: ConsentVendor) -> None:
        report = check(consented)
        assert report.code == FailureCode.AUTH_FAILED
        assert "/connection/{key}/authorize" in (report.reason or "")
        assert consented.connections == 0

    def test_a_token_that_ends_is_renewed_and_the_new_one_kept(self, check: Check, consented: ConsentVendor) -> None:
        stored = consented.stored(lasts=30)
        report = check(consented, tokens=stored)
        assert report.status == "succeeded"
        assert report.tokens is not None
        assert report.tokens["refresh_token"] != stored["refresh_token"]  # these vendors rotate them
        assert report.tokens["expires_at"] - time.time() > 7000
        assert check(consented, tokens=dict(report.tokens)).status == "succeeded"

    def test_a_refresh_token_stays_where_the_vendor_gives_no_new_one(
        self, check: Check, consented: ConsentVendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = consented.stored(lasts=30)
        monkeypatch.setattr(consented, "token", lambda _: as_json(200, consented.issue()))
        report = check(consented, tokens=stored)
        assert report.tokens is not None
        assert report.tokens["refresh_token"] == stored["refresh_token"]

    def test_a_token_that_was_revoked_is_renewed(self, check: Check, consented: ConsentVendor) -> None:
        stored = consented.stored()
        consented.good.clear()
        assert check(consented, tokens=stored).status == "succeeded"

    def test_a_consent_that_was_withdrawn_says_so(self, check: Check, consented: ConsentVendor) -> None:
        stored = consented.stored(lasts=30)
        consented.refresh_tokens.clear()
        report = check(consented, tokens=stored)
        assert report.code == FailureCode.AUTH_FAILED
        assert "has ended" in (report.reason or "")
        assert report.tokens is None

    def test_tokens_without_a_refresh_token_end_for_good(self, check: Check, consented: ConsentVendor) -> None:
        report = check(consented, tokens=consented.stored(lasts=30, refreshable=False))
        assert report.code == FailureCode.AUTH_FAILED
        assert "has ended" in (report.reason or "")

    def test_renewed_tokens_are_kept_even_if_the_test_then_fails(self, check: Check, consented: ConsentVendor) -> None:
        consented.poor = True
        report = check(consented, tokens=consented.stored(lasts=30))
        assert report.code == FailureCode.PERMISSION_DENIED
        assert report.tokens is not None
        assert report.tokens["refresh_token"] in consented.refresh_tokens


class Exchange:
    """A context for an exchange in this process, that connects to loopback and keeps what it is handed."""

    timeout = 5.0

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self.tokens: dict[str, Any] | None = None

    @contextlib.contextmanager
    def open(self, host: str, port: int, **_: Any) -> Iterator[Link]:
        with socket.create_connection((host, port), timeout=5) as connection:
            yield Link(host, Address(*connection.getpeername()), connection, None, None)

    def step(self, name: str) -> Any:
        return contextlib.nullcontext()

    def skip_step(self, name: str) -> None:
        pass

    def settings(self, model: Any) -> Any:
        return self._settings

    def store_tokens(self, tokens: dict[str, Any]) -> None:
        self.tokens = tokens


class TestAuthorization:
    def connector(self, vendor: ConsentVendor) -> Any:
        import json

        return find_connector(
            vendor.identifier, "connectory-saas", {"CONNECTORY_SAAS_ENDPOINTS": json.dumps(vendor.endpoints)}
        )

    def test_it_needs_consent_and_says_where(self) -> None:
        outreach = find_connector("outreach", "connectory-saas", {})
        assert outreach.description.authorization_required
        authorization = outreach.authorization(parse_secrets(outreach.secrets_model, saas.Outreach.secrets))
        assert authorization is not None
        assert authorization.authorize_url == "https://api.outreach.io/oauth/authorize"
        assert authorization.token_url == "https://api.outreach.io/oauth/token"
        assert authorization.redirect_uri == saas.Outreach.secrets["redirect_uri"]
        assert "roles.all" in authorization.scopes
        assert not authorization.pkce

    def test_salesforce_takes_a_code_challenge(self) -> None:
        salesforce = find_connector("salesforce", "connectory-saas", {})
        authorization = salesforce.authorization(parse_secrets(salesforce.secrets_model, saas.Salesforce.secrets))
        assert authorization is not None
        assert authorization.authorize_url == "https://acme.my.salesforce.com/services/oauth2/authorize"
        assert authorization.pkce

    def test_the_others_need_none(self) -> None:
        for vendor in saas.VENDORS:
            connector = find_connector(vendor.identifier, "connectory-saas", {})
            needs = issubclass(vendor, ConsentVendor)
            secrets = parse_secrets(connector.secrets_model, vendor.secrets)
            assert connector.description.authorization_required == needs
            assert (connector.authorization(secrets) is not None) == needs

    def test_a_code_is_exchanged_for_tokens(self, consented: ConsentVendor) -> None:
        connector = self.connector(consented)
        secrets = parse_secrets(connector.secrets_model, consented.secrets)
        context: Any = Exchange(connector.plugin().settings)
        connector.exchange_code(secrets, consented.consent(), None, context)
        assert context.tokens["access_token"] in consented.good
        assert context.tokens["refresh_token"] in consented.refresh_tokens
        assert consented.token_requests()[0]["redirect_uri"] == consented.secrets["redirect_uri"]

    def test_the_verifier_of_a_challenge_goes_along(self, consented: ConsentVendor) -> None:
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        connector = self.connector(consented)
        secrets = parse_secrets(connector.secrets_model, consented.secrets)
        context: Any = Exchange(connector.plugin().settings)
        verifier = "v" * 50
        connector.exchange_code(secrets, consented.consent(create_s256_code_challenge(verifier)), verifier, context)
        assert context.tokens is not None

    def test_a_code_that_is_not_accepted_is_auth_failed(self, consented: ConsentVendor) -> None:
        from connectory import CheckFailed

        connector = self.connector(consented)
        secrets = parse_secrets(connector.secrets_model, consented.secrets)
        code = consented.consent()
        context: Any = Exchange(connector.plugin().settings)
        connector.exchange_code(secrets, code, None, context)
        for wrong in ("made up", code):  # a code works once
            context = Exchange(connector.plugin().settings)
            with pytest.raises(CheckFailed) as caught:
                connector.exchange_code(secrets, wrong, None, context)
            assert caught.value.code is FailureCode.AUTH_FAILED
            assert context.tokens is None
