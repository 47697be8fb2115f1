"""The connectors as consumers of the REST API meet them, in a running service."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from servers.saas import Auth0, Outreach, Salesforce, Stripe, Zendesk
from servers.saas.web import Answer, Asked, WebServer, as_json
from testkit.service import run_command, running_service, token_of_root

LEDGER = """\
identifier: ledger
name: Ledger
secrets:
  domain: {title: Domain, hosts: ["*.ledger.example"]}
  key: {title: Key, sensitive: true}
auth: {strategy: header, name: X-Key, value: <key>}
test:
  - url: https://<domain>/books
    expect: {type: array}
"""
BROKEN = LEDGER.replace("title: Key, ", "").replace("identifier: ledger", "identifier: broken")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("saas")
    definitions = folder / "definitions"
    definitions.mkdir()
    (definitions / "ledger.yaml").write_text(LEDGER)
    (definitions / "broken.yaml").write_text(BROKEN)
    (definitions / "stripe.yaml").write_text(LEDGER.replace("identifier: ledger", "identifier: stripe"))
    settings = {
        "CONNECTORY_SAAS_ALLOW_HTTP_LOOPBACK": "true",
        "CONNECTORY_SAAS_DEFINITIONS": str(definitions),
    }
    with running_service(folder / "home", settings) as service:
        headers = {"Authorization": f"Bearer {token_of_root(folder / 'home', service.url)}"}
        with httpx.Client(base_url=f"{service.url}/api/v1", headers=headers, timeout=30, trust_env=False) as client:
            yield client


def stored(api: httpx.Client, key: str, kind: str, secrets: Mapping[str, str]) -> dict[str, object]:
    """Create a connection, store its secrets, and return the answer, which holds the verdict of the test."""
    created = api.patch("/connection", json=[{"key": key, "name": key, "connection_type": kind, "access": "read"}])
    assert created.json()["failed"] == [], created.text
    answer = api.put(f"/connection/{key}/secret", json=dict(secrets))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_all_of_them_are_listed_between_databases_and_the_rest(api: httpx.Client) -> None:
    page = api.get("/connection_type", params={"size": 100}).json()
    assert page["total"] == 21 + 1  # the deployer's own
    kinds = [item["type"] for item in page["items"]]
    assert kinds == ["database"] * 8 + ["saas"] * 13 + ["manual"]
    stripe = next(item for item in page["items"] if item["identifier"] == "stripe")
    assert stripe["human_readable"] == "Stripe"
    assert stripe["encoded_icon"]
    assert api.get("/connection_type", params={"system_type": "saas"}).json()["total"] == 13


def test_the_deployers_files_are_among_the_plugins(api: httpx.Client) -> None:
    plugins = api.get("/plugins", params={"size": 100}).json()
    items = plugins["items"] if isinstance(plugins, dict) else plugins
    found = {
        (item["identifier"], item["status"]): item for item in items if str(item.get("target", "")).endswith(".yaml")
    }
    assert set(found) == {("ledger", "loaded"), ("broken", "failed"), ("stripe", "conflict")}
    assert "line 5, secrets.key.title: Field required" in found["broken", "failed"]["reason"]


def test_a_connection_of_type_stripe_works_like_any_other(api: httpx.Client) -> None:
    with Stripe() as stripe:
        secrets = stripe.secrets | {"domain": f"127.0.0.1:{stripe.port}"}
        answer = stored(api, "payments", "stripe", secrets)
        assert (answer["test_status"], answer["failure_reason"]) == ("succeeded", None)
        shown = api.get("/connection/payments").json()["secrets"]
        assert shown == {"domain": secrets["domain"], "api_key": "**********"}
        wrong = api.put("/connection/payments/secret", json=secrets | {"api_key": "sk_test_unknown"}).json()
        assert wrong["test_status"] == "failed"
        assert wrong["failure_code"] == "auth_failed"
        assert "API key" in str(wrong["failure_reason"])


def test_a_domain_that_is_not_the_vendors_is_a_422_that_names_it(api: httpx.Client) -> None:
    stored(api, "elsewhere", "stripe", {"api_key": "sk_test_x", "domain": "127.0.0.1:1"})
    answer = api.put("/connection/elsewhere/secret", json={"api_key": "S3cretPw", "domain": "evil.example"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][-1] == "domain"
    assert "S3cretPw" not in answer.text
    assert "evil.example" not in answer.text


def test_secrets_do_not_follow_to_another_host(api: httpx.Client) -> None:
    def refusal(key: str, changes: dict[str, str]) -> tuple[str, str]:
        answer = api.patch(f"/connection/{key}/secret", params={"verify": False}, json=changes)
        assert answer.status_code == 422, answer.text
        [problem] = answer.json()["detail"]
        return problem["loc"][-1], problem["msg"]

    stored(api, "tickets", "zendesk", Zendesk.secrets)
    assert refusal("tickets", {"domain": "evil.zendesk.com"}) == (
        "api_key",
        "Must be sent again, because domain changes: stored secrets do not follow to another endpoint.",
    )
    renamed = api.patch(
        "/connection/tickets/secret", params={"verify": False}, json={"username": "b@acme.example/token"}
    )
    assert renamed.status_code == 200, renamed.text
    shown = api.get("/connection/tickets").json()["secrets"]
    assert (shown["username"], shown["api_key"]) == ("b@acme.example/token", "**********")
    stored(api, "reach", "outreach", Outreach.secrets)
    place, message = refusal("reach", {"redirect_uri": "https://evil.example/"})
    assert (place, message.partition(":")[0]) == ("client_secret", "Must be sent again, because redirect_uri changes")


def test_the_deployer_can_see_the_settings(tmp_path: Path) -> None:
    settings = {"CONNECTORY_SAAS_ENDPOINTS": '{"API.stripe.com": "https://gateway.example/a/"}'}
    answer = run_command(tmp_path / "home", "settings", "--json", settings=settings)
    shown = {row["name"]: row["value"] for row in json.loads(answer.stdout)}
    assert shown["CONNECTORY_SAAS_ENDPOINTS"] == '{"api.stripe.com": "https://gateway.example/a"}'
    assert shown["CONNECTORY_SAAS_ALLOW_HTTP_LOOPBACK"] == "False"


def test_a_token_is_obtained_once_and_kept(api: httpx.Client) -> None:
    with Auth0() as auth0:
        here = f"127.0.0.1:{auth0.port}"
        auth0.audience = f"https://{here}/api/v2/"
        secrets = auth0.secrets | {"domain": here}
        assert stored(api, "identity", "auth0", secrets)["test_status"] == "succeeded"
        for _ in range(2):
            assert api.get("/connection/identity/test").json()["test_status"] == "succeeded"
        assert len(auth0.token_requests()) == 1
        [token] = auth0.good
        for path in ("/connection/identity", "/connection", "/connection_type/auth0/secret"):
            assert token not in api.get(path).text
        api.put("/connection/identity/secret", json=secrets)  # other secrets, other tokens
        assert len(auth0.token_requests()) == 2


def test_a_rate_limit_is_a_failed_test_with_the_wait(api: httpx.Client) -> None:
    with Zendesk() as zendesk:
        zendesk.limited = True
        answer = stored(api, "desk", "zendesk", zendesk.secrets | {"domain": f"127.0.0.1:{zendesk.port}"})
    assert answer["failure_code"] == "rate_limited"


def test_the_deployers_own_definition_is_tested_like_any_other(api: httpx.Client) -> None:
    def answer(asked: Asked) -> Answer:
        return as_json(200 if asked.headers.get("x-key") == "right" else 401, [])

    with WebServer(answer) as server:
        secrets = {"domain": f"127.0.0.1:{server.port}", "key": "right"}
        assert stored(api, "books", "ledger", secrets)["test_status"] == "succeeded"
        wrong = api.put("/connection/books/secret", json=secrets | {"key": "wrong"}).json()
        assert wrong["failure_code"] == "auth_failed"


def test_consent_is_asked_for_at_the_vendors_address(api: httpx.Client) -> None:
    answer = stored(api, "sales", "outreach", dict(Outreach.secrets))
    assert answer["failure_code"] == "auth_failed"
    url = httpx.URL(api.get("/connection/sales/authorize").json())
    assert (url.scheme, url.host, url.path) == ("https", "api.outreach.io", "/oauth/authorize")
    assert url.params["client_id"] == Outreach.secrets["client_id"]
    assert url.params["redirect_uri"] == Outreach.secrets["redirect_uri"]
    assert Outreach.secrets["client_secret"] not in str(url)


def test_a_consent_makes_a_connection_work(api: httpx.Client) -> None:
    """Its tokens are renewed when they are revoked."""
    with Salesforce() as salesforce:
        here = f"127.0.0.1:{salesforce.port}"
        callback = f"{str(api.base_url).rstrip('/')}/oauth/callback"
        salesforce.secrets = salesforce.secrets | {"redirect_uri": callback}  # type: ignore[misc]
        secrets = salesforce.secrets | {"domain": here, "token_refresh_url": here}
        assert stored(api, "crm", "salesforce", secrets)["failure_code"] == "auth_failed"
        url = httpx.URL(api.get("/connection/crm/authorize").json())
        assert (url.scheme, url.host, url.path) == ("http", "127.0.0.1", "/services/oauth2/authorize")
        assert url.params["code_challenge_method"] == "S256"
        code = salesforce.consent(url.params["code_challenge"])
        query = {"code": code, "state": url.params["state"]}
        browser = httpx.get(callback, params=query, cookies=api.cookies, trust_env=False)
        assert browser.is_success, browser.text
        assert api.get("/connection/crm/test").json()["test_status"] == "succeeded"
        assert len(salesforce.token_requests()) == 1
        salesforce.good.clear()  # revoked: the refresh token, which is replaced, helps
        for _ in range(2):
            assert api.get("/connection/crm/test").json()["test_status"] == "succeeded"
        assert [form["grant_type"] for form in salesforce.token_requests()] == ["authorization_code", "refresh_token"]
        again = httpx.get(callback, params=query, cookies=api.cookies, trust_env=False)
        assert again.is_client_error  # a state works once
