"""Which hosts a connection may name: what the vendors really use, and nothing that leads elsewhere."""

import json

import pytest

from connectory.testing import PluginBroken, SecretsInvalid, is_accepted, load_connector, parse_secrets
from servers import saas
from testkit.checking import Check

VENDORS = {vendor.identifier: vendor for vendor in saas.VENDORS}


def accepts(identifier: str, settings: dict[str, str] | None = None, **changes: str) -> bool:
    connector = load_connector(identifier, "connectory-saas", settings or {})
    secrets = VENDORS[identifier].secrets | changes
    if is_accepted(connector.secrets_model, secrets):
        return True
    with pytest.raises(SecretsInvalid) as refused:
        parse_secrets(connector.secrets_model, secrets)
    assert [problem["loc"] for problem in refused.value.problems] == [[name] for name in changes]
    message = str(refused.value).partition("Must be a host")[0]  # that sentence names the vendor's own hosts
    assert not any(value in message for value in changes.values() if len(value) > 3)
    return False


ACCEPTED = {
    "adobe_campaign": ["mc.adobe.io"],
    "auth0": ["acme.auth0.com", "acme.eu.auth0.com", "acme.us.auth0.com", "login.acme.example"],
    "datadog": ["api.datadoghq.com", "api.us5.datadoghq.com", "api.datadoghq.eu", "api.ddog-gov.com"],
    "hubspot": ["api.hubapi.com"],
    "mailchimp": ["us1.api.mailchimp.com", "us21.api.mailchimp.com"],
    "outreach": ["api.outreach.io"],
    "salesforce": [
        "acme.my.salesforce.com",
        "acme--uat.sandbox.my.salesforce.com",
        "acme-dev-ed.develop.my.salesforce.com",
        "acme.my.salesforce.mil",
    ],
    "segment": ["api.segmentapis.com", "eu1.api.segmentapis.com"],
    "sendgrid": ["api.sendgrid.com", "api.eu.sendgrid.com"],
    "sentry": [
        "sentry.io",
        "us.sentry.io",
        "de.sentry.io",
        "acme.sentry.io",
        "sentry.acme.example",
        "sentry.acme.io:8443",
    ],
    "stripe": ["api.stripe.com"],
    "zendesk": ["acme.zendesk.com", "ACME.zendesk.com"],
}


@pytest.mark.parametrize(("identifier", "domain"), [(name, host) for name, hosts in ACCEPTED.items() for host in hosts])
def test_a_host_that_the_vendor_uses_is_accepted(identifier: str, domain: str) -> None:
    assert accepts(identifier, domain=domain)


# The classes of the threat list: addresses in any spelling, other ports, users, schemes, tails, controls, look-alikes.
ELSEWHERE = [
    *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "127.0.0.1", "127.0.0.1:8000", "localhost"),
    *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "0x7f.1", "017700000001", "10.0.0.1.5"),
    *("[::1]", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "::1", "::ffff:127.0.0.1"),
    *("127.0.0.1\0.example.com", "good.com@evil.example", "good.com:80@evil.example", "good.com\\@evil.example"),
    *("https://{host}", "{host}/", "{host}/path", "{host}?x=1", "{host}#x", "{host}:6379", "{host}:80", "user@{host}"),
    *(" {host}", "{host} ", "{host}\n", "{host}.", ".{host}", "a..{host}", "-a.{host}", "a-.{host}", "{host}%00", ""),
    *("evil.example/{host}", "{host},evil.example", "{host};evil.example", "\u0430pi.{host}", "a_b.{host}", "x" * 300),
]


@pytest.mark.parametrize("identifier", VENDORS)
def test_everything_else_is_refused_by_name(identifier: str) -> None:
    host = ACCEPTED[identifier][0]
    for domain in ELSEWHERE:
        assert not accepts(identifier, domain=domain.replace("{host}", host)), domain


@pytest.mark.parametrize("identifier", sorted(VENDORS.keys() - {"auth0", "sentry"}))
def test_look_alikes_of_a_vendors_hosts_are_refused(identifier: str) -> None:
    host = ACCEPTED[identifier][0]
    for domain in (
        f"{host}.evil.example",
        f"evil-{host.replace('.', '-')}",
        f"evil{host}x",
        host.replace(".", "x"),
        "evil.example",
    ):
        assert not accepts(identifier, domain=domain), domain


def test_other_fields_that_hold_a_host_have_rules_too() -> None:
    assert accepts("salesforce", token_refresh_url="test.salesforce.com")
    assert accepts("segment", personas_domain="profiles.euw1.segment.com")
    for domain in ("evil.example", "login.salesforce.com.evil.example", "127.0.0.1"):
        assert not accepts("salesforce", token_refresh_url=domain)
        assert not accepts("segment", personas_domain=domain)


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://connectory.acme.example/api/v1/oauth/callback", True),
        ("https://connectory.acme.example:8443/api/v1/oauth/callback", True),
        ("http://localhost:8000/api/v1/oauth/callback", True),
        ("http://127.0.0.1:8000/api/v1/oauth/callback", True),
        ("http://connectory.acme.example/api/v1/oauth/callback", False),
        ("https://user@connectory.acme.example/", False),
        ("https://connectory.acme.example/?a=b", False),
        ("https://connectory.acme.example/#a", False),
        ("javascript:alert(1)", False),
        ("connectory.acme.example", False),
    ],
)
def test_a_redirect_url_is_encrypted_or_local(url: str, accepted: bool) -> None:
    assert accepts("outreach", redirect_uri=url) == accepted


LOOPBACK = {"CONNECTORY_SAAS_ALLOW_HTTP_LOOPBACK": "true"}


@pytest.mark.parametrize("identifier", VENDORS)
def test_loopback_needs_the_deployers_word(identifier: str) -> None:
    assert not accepts(identifier, domain="127.0.0.1:9000")
    assert not accepts(identifier, {"CONNECTORY_SAAS_ALLOW_HTTP_LOOPBACK": "false"}, domain="127.0.0.1:9000")
    assert accepts(identifier, LOOPBACK, domain="127.0.0.1:9000")
    for domain in (
        "127.0.0.1",
        "127.0.0.2:9000",
        "localhost:9000",
        "127.0.0.1:9000/x",
        "127.0.0.1:0",
        "127.0.0.1:900000",
    ):
        assert not accepts(identifier, LOOPBACK, domain=domain)


def test_the_schema_says_so() -> None:
    def pattern(settings: dict[str, str]) -> str:
        schema = load_connector("stripe", "connectory-saas", settings).schema
        return str(schema["allOf"][-1]["properties"]["domain"]["pattern"])

    assert "127" not in pattern({})
    assert "127" in pattern(LOOPBACK)


@pytest.mark.parametrize(
    "endpoints",
    [
        "not json",
        "[]",
        '{"api.stripe.com": 7}',
        '{"api.stripe.com": "gateway.example"}',
        '{"api.stripe.com": "ftp://gateway.example"}',
        '{"api.stripe.com": "http://gateway.example"}',
        '{"api.stripe.com": "https://user:S3cretPw@gateway.example"}',
        '{"api.stripe.com": "https://gateway.example?x=S3cretPw"}',
    ],
)
def test_endpoints_that_cannot_be_meant_are_refused_at_start(endpoints: str) -> None:
    with pytest.raises(PluginBroken, match="CONNECTORY_SAAS_ENDPOINTS has a value that is not accepted"):
        load_connector("stripe", "connectory-saas", {"CONNECTORY_SAAS_ENDPOINTS": endpoints})


def test_an_endpoint_may_have_a_path(check: Check) -> None:
    with saas.Stripe() as stripe:
        settings = {"CONNECTORY_SAAS_ENDPOINTS": json.dumps({"api.stripe.com": f"{stripe.url}/gateway/"})}
        check(stripe, settings=settings)
        assert [asked.path for asked in stripe.asked] == ["/gateway/v1/balance"]
