"""Consent: the browser goes to a provider, and comes back; what comes back in another browser counts once somebody says so."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from servers.oauth.provider import OauthProvider
from servers.saas import Salesforce
from testkit.distribution import install
from testkit.people import Console, Person, running_console

pytestmark = pytest.mark.usefixtures("by_keyboard")

PLUGIN = Path(__file__).parents[2] / "tests/api/archive_plugin.py"
SHEET_OF_THE_PROVIDER = "https://cdn.jsdelivr.net"


@pytest.fixture(scope="module")
def provider() -> Iterator[OauthProvider]:
    with OauthProvider() as started:
        yield started


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("consent")
    modules = {"archive_plugin": PLUGIN.read_text()}
    install(folder / "site", "acme-archive", entry_points={"archive": "archive_plugin"}, modules=modules)
    settings = {"PYTHONPATH": str(folder / "site"), "CONNECTORY_SAAS_ALLOW_HTTP_LOOPBACK": "true"}
    with running_console(folder / "home", settings) as console:
        yield console


@pytest.fixture
def person(person: Person) -> Person:
    return at_home_with_the_provider(person)


def at_home_with_the_provider(person: Person) -> Person:
    """The provider's own page asks for a style sheet, which nobody answers."""
    person.elsewhere.add(SHEET_OF_THE_PROVIDER)
    person.tolerated = "ERR_NAME_NOT_RESOLVED"
    return person


def redirect_uri(console: Console) -> str:
    return f"{console.url}/api/v1/oauth/callback"


def secrets(console: Console, provider: OauthProvider) -> dict[str, object]:
    own = redirect_uri(console)
    return {"host": provider.host, "port": provider.port, "redirect_uri": own} | provider.register(own)


def make(console: Console, provider: OauthProvider, key: str, **changed: object) -> dict[str, object]:
    document = secrets(console, provider) | changed
    console.make(key, document, connection_type="archive")
    return document


def ask(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Ask")).click()
    expect(page.get_by_role("heading", name="Authorize Client")).to_be_visible()


def consent(page: Page) -> None:
    page.get_by_placeholder("sub").fill("alice")
    page.get_by_role("button", name="Authorize").click()


def authorized(console: Console, key: str) -> bool:
    return console.api.get(f"/connection/{key}").json()["authorized"]


def test_from_the_form_to_the_provider_and_back_to_a_test_that_passes(
    person: Person, console: Console, provider: OauthProvider
) -> None:
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = person.go("/connections/new?type=archive")
    page.get_by_label("Name", exact=True).fill("Deeds")
    for name, value in secrets(console, provider).items():
        page.locator(f"[name='field.{name}']").fill(str(value))
    page.get_by_role("button", name="Save and ask for consent").click()
    page.wait_for_url(console.page("/connections/deeds/consent?done=created"))
    page.get_by_role("button", name="Copy the address", exact=True).click()
    expect(page.locator("#notices")).to_contain_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == redirect_uri(console)
    ask(page)
    consent(page)
    expect(page.get_by_role("heading", name="Connected", exact=True)).to_be_visible()
    page.get_by_role("link", name="To the console").click()
    expect(page.get_by_text("A person has consented")).to_be_visible()
    page.get_by_role("button", name="Test now").click()
    expect(page.locator(".verdict-title")).to_have_text("Passed")
    assert authorized(console, "deeds")


def test_who_refuses_can_be_asked_again(person: Person, console: Console, provider: OauthProvider) -> None:
    make(console, provider, "refused")
    page = person.go("/connections/refused/consent")
    ask(page)
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("heading", name="Not connected")).to_be_visible()
    expect(page.locator("body")).to_contain_text("The person, or the provider, refused consent")
    assert not authorized(console, "refused")
    page.get_by_role("link", name="To the console").click()
    ask(page)
    consent(page)
    expect(page.get_by_role("heading", name="Connected", exact=True)).to_be_visible()


def test_secrets_that_were_changed_meanwhile_have_nobodys_consent(
    person: Person, console: Console, provider: OauthProvider
) -> None:
    document = make(console, provider, "moved")
    page = person.go("/connections/moved/consent")
    ask(page)
    console.api.put("/connection/moved/secret?verify=false", json=document)
    consent(page)
    expect(page.get_by_role("heading", name="Not connected")).to_be_visible()
    expect(page.locator("body")).to_contain_text("were changed after consent was asked for")
    page.get_by_role("link", name="To the console").click()
    expect(page.get_by_role("button", name="Ask for consent")).to_be_visible()
    assert not authorized(console, "moved")


def test_a_consent_that_came_back_in_another_browser_waits_for_a_click(
    person: Person, colleague: Person, console: Console, provider: OauthProvider
) -> None:
    make(console, provider, "held")
    page = person.go("/connections/held/consent")
    ask(page)
    link = page.url
    other = at_home_with_the_provider(colleague).page
    other.goto(link)
    consent(other)
    expect(other.get_by_role("heading", name="Nothing is connected yet")).to_be_visible()
    expect(other.locator("body")).to_contain_text("The client root asked for this consent, for the connection held")
    assert not authorized(console, "held")
    other.get_by_role("button", name="Confirm in the console").click()
    expect(other.get_by_text("A person has consented")).to_be_visible()
    assert authorized(console, "held")


def test_who_is_not_signed_in_cannot_confirm_it(
    person: Person, somebody: Person, console: Console, provider: OauthProvider
) -> None:
    make(console, provider, "unheld")
    page = person.go("/connections/unheld/consent")
    ask(page)
    stranger = at_home_with_the_provider(somebody).page
    stranger.goto(page.url)
    consent(stranger)
    stranger.get_by_role("button", name="Confirm in the console").click()
    expect(stranger.get_by_label("Client secret")).to_be_visible()
    assert not authorized(console, "unheld")


def test_what_cannot_be_asked_says_why(person: Person, console: Console, provider: OauthProvider) -> None:
    make(console, provider, "unaskable", mode="no consent")
    page = person.go("/connections/unaskable/consent")
    page.get_by_role("button", name="Ask for consent").click()
    expect(page.get_by_role("alert")).to_contain_text("does not use OAuth2 Authorization Code")


@pytest.fixture(scope="module")
def salesforce(console: Console) -> Iterator[Salesforce]:
    with Salesforce() as vendor:
        vendor.secrets = vendor.secrets | {"redirect_uri": redirect_uri(console)}  # type: ignore[misc]
        yield vendor


def secrets_of(salesforce: Salesforce) -> dict[str, object]:
    here = f"{salesforce.host}:{salesforce.port}"
    return salesforce.secrets | {"domain": here, "token_refresh_url": here}


def go_to_salesforce(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Ask")).click()
    expect(page.get_by_role("heading", name="Allow access?")).to_be_visible()


def test_salesforce_from_the_form_to_consent_and_verdict(
    person: Person, console: Console, salesforce: Salesforce
) -> None:
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = person.go("/connections/new?type=salesforce")
    page.get_by_role("button", name="Copy the address").click()
    expect(page.locator("#notices")).to_contain_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == redirect_uri(console)
    expect(page.get_by_label("Redirect URL")).to_have_value(redirect_uri(console))
    page.get_by_label("Name", exact=True).fill("Customers")
    for name, value in secrets_of(salesforce).items():
        page.locator(f"[name='field.{name}']").fill(str(value))
    page.get_by_role("button", name="Save and ask for consent").click()
    page.wait_for_url(console.page("/connections/customers/consent?done=created"))
    go_to_salesforce(page)
    page.get_by_role("link", name="Allow").click()
    expect(page.get_by_role("heading", name="Connected", exact=True)).to_be_visible()
    page.get_by_role("link", name="To the console").click()
    page.get_by_role("button", name="Test now").click()
    expect(page.locator(".verdict-title")).to_have_text("Passed")
    expect(page.locator("li .step-name")).to_have_text(["resolve", "connect", "tls", "query"])
    assert authorized(console, "customers")


def test_salesforce_is_refused_and_asked_again(person: Person, console: Console, salesforce: Salesforce) -> None:
    console.make("denied", secrets_of(salesforce), connection_type="salesforce")
    page = person.go("/connections/denied/consent")
    go_to_salesforce(page)
    page.get_by_role("link", name="Deny").click()
    expect(page.get_by_role("heading", name="Not connected")).to_be_visible()
    page.get_by_role("link", name="To the console").click()
    go_to_salesforce(page)
    console.api.put("/connection/denied/secret?verify=false", json=secrets_of(salesforce))
    page.get_by_role("link", name="Allow").click()
    expect(page.locator("body")).to_contain_text("were changed after consent was asked for")
    assert not authorized(console, "denied")
    page.get_by_role("link", name="To the console").click()
    go_to_salesforce(page)
    page.get_by_role("link", name="Allow").click()
    expect(page.get_by_role("heading", name="Connected", exact=True)).to_be_visible()
    assert authorized(console, "denied")
