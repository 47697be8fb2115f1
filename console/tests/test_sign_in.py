"""Signing in and out, in a real browser."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from testkit.people import Console, Person

pytestmark = pytest.mark.usefixtures("by_keyboard")


def test_a_link_signs_in_once_and_leaves_nothing_in_the_address(somebody: Person, console: Console) -> None:
    link = console.link()
    page = somebody.page
    page.goto(link)
    expect(page.get_by_text("Sign in as root · ")).to_be_visible()
    assert "code=" not in page.url
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(console.page("/"))
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    assert somebody.stored_in_browser() == "[{},{}]"
    [cookie] = somebody.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["name"]) == (
        True,
        "Strict",
        f"connectory_{page.url.split(':')[2][:-9]}",
    )
    somebody.context.clear_cookies()
    page.goto("about:blank")
    page.goto(link)
    expect(page.locator(".code-text")).to_contain_text("This link was used, or is more than ten minutes old.")
    assert console.service.log.read_text().count(link.partition("#code=")[2]) == 0


def test_credentials_sign_in_and_lead_where_the_person_wanted(somebody: Person, console: Console) -> None:
    made = console.api.post(
        "/client", json={"name": "reader", "scopes": ["connection:read", "connection_type:read"]}
    ).json()
    page = somebody.go("/connections?test_status=failed")
    expect(page).to_have_url(re.compile(r"/console/sign-in\?next="))
    page.get_by_label("Client id").fill(made["client_id"])
    page.get_by_label("Client secret").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("The client id or the secret is wrong.")
    page.get_by_label("Client id").fill(made["client_id"])
    page.get_by_label("Client secret").fill(made["client_secret"])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(console.page("/connections?test_status=failed"))
    assert made["client_secret"] not in page.content()
    for path, scope in {"/audit": "audit:read", "/keys": "key:read", "/clients": "client:manage"}.items():
        expect(somebody.go(path).locator("main")).to_contain_text(f"lacks the scope {scope}")


def test_signing_out_revokes_the_token(another, console: Console) -> None:
    made = console.api.post("/client", json={"name": "leaving", "scopes": ["connection:read"]}).json()
    page = another().sign_in(console.link(made["client_id"]))
    tokens = f"/client/{made['client_id']}/token"
    assert console.api.get(tokens).json()["total"] == 1
    page.locator(".account summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert console.api.get(tokens).json()["total"] == 0


def test_signing_out_ends_it_also_for_the_back_button(person: Person, console: Console) -> None:
    page = person.go("/connections")
    page.locator(".account summary").click()
    with page.expect_response("**/sign-out") as answered:
        page.get_by_role("button", name="Sign out").click()
    assert answered.value.all_headers()["clear-site-data"] == '"cache"'
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Client secret")).to_be_visible()


def test_who_deletes_the_client_ends_the_session(somebody: Person, console: Console) -> None:
    made = console.api.post("/client", json={"name": "short-lived", "scopes": ["connection:read"]}).json()
    page = somebody.sign_in(console.link(made["client_id"]))
    assert console.api.delete(f"/client/{made['client_id']}").status_code == 204
    page.goto(console.page("/connections"))
    expect(page.get_by_label("Client secret")).to_be_visible()
    assert somebody.context.cookies() == []


def test_without_a_session_there_is_nothing_to_see(console: Console) -> None:
    with httpx.Client(base_url=console.url) as client:
        for path in ("/", "/connections", "/connections/any/secrets", "/keys", "/audit.csv"):
            answer = client.get(f"/console{path}")
            assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/console/sign-in")
        assert client.post("/console/connections/bulk", content="do=delete").status_code == 403
