"""What whoever runs the service looks after: plugins, keys, clients, the audit trail."""

import csv
import io
import json
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from testkit.distribution import install, plugin_source
from testkit.people import Console, Person, running_console
from testkit.service import run_command

pytestmark = pytest.mark.usefixtures("by_keyboard")

SOUND = plugin_source("sound")
BROKEN = {
    "raises": ("raise RuntimeError", "Loading it raised RuntimeError", None),
    "driverless": ("import no_such_driver", "Importing it needs the module 'no_such_driver'", "pip install"),
}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("operating")
    site = folder / "site"
    for name, (before, _, _) in BROKEN.items():
        module = f"operating_{name}"
        source = plugin_source(name, before=before)
        install(site, f"acme-{name}", entry_points={name: module}, modules={module: source})
    install(site, "acme-sound", entry_points={"sound": "operating_sound"}, modules={"operating_sound": SOUND})
    for name in ("acme-twin-one", "acme-twin-two"):
        install(site, name, entry_points={"twin": "operating_sound"})
    with running_console(folder / "home", {"PYTHONPATH": str(site)}) as console:
        yield console


def card(page: Page, identifier: str) -> Locator:
    return page.locator(".plugin-list > li").filter(has=page.get_by_role("heading", name=identifier, exact=True))


def copied(person: Person, button: Locator) -> str:
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button.click()
    expect(person.page.locator("#notices")).to_contain_text("Copied.")
    return person.page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("name", BROKEN)
def test_a_plugin_that_does_not_load_says_why_and_what_to_do(person: Person, name: str) -> None:
    _, reason, command = BROKEN[name]
    page = person.go("/plugins")
    shown = card(page, name)
    expect(shown).to_contain_text("Failed")
    expect(shown).to_contain_text(reason)
    text = copied(person, shown.get_by_role("button", name="Copy"))
    if command is None:
        assert text.startswith(reason)
    else:
        assert text == f"pip install --force-reinstall acme-{name}"


def test_the_line_that_ends_a_conflict_works_in_a_shell(person: Person) -> None:
    page = person.go("/plugins")
    twins = card(page, "twin")
    expect(twins).to_have_count(2)
    expect(twins.first).to_contain_text("acme-twin-one 1.0 and acme-twin-two 1.0 all claim 'twin'")
    line = copied(person, twins.first.get_by_role("button", name="Copy"))
    shell = subprocess.run(
        ["sh", "-c", f'{line}; printf %s "$CONNECTORY_PLUGINS_PIN"'], capture_output=True, text=True, check=True
    )
    assert json.loads(shell.stdout) == {"twin": "acme-twin-one"}
    assert "needs-you" in twins.first.get_attribute("class")


def test_broken_plugins_stand_on_the_home_page_and_in_the_catalogue(person: Person) -> None:
    page = person.go("/")
    if page.get_by_text("Connect your first system").count() == 0:
        expect(page.get_by_text("Nothing needs you now.")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("driverless")
    expect(person.go("/catalogue").locator(".unusable")).to_have_count(4)


def rows(page: Page) -> dict[str, str]:
    """The number of rows of each key."""
    table = page.get_by_role("region", name="Keys").locator("tbody tr")
    return {row.locator("th code").inner_text(): row.locator(".number").inner_text() for row in table.all()}


def step(page: Page) -> str:
    return page.locator("[aria-current=step] strong").inner_text()


def run(console: Console, line: str) -> None:
    """A command as it stands on the page."""
    done = run_command(console.home, *shlex.split(line)[1:])
    assert done.returncode == 0, done.stderr


def reread(console: Console, held: Callable[[dict], bool]) -> None:
    """Have the service read its key file, and wait until it has."""
    console.service.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while not held(console.api.get("/keys").json()):
        assert time.monotonic() < deadline, console.api.get("/keys").json()


def command(page: Page) -> str:
    return page.locator("[aria-current=step] code").inner_text()


def test_the_primary_key_is_changed_while_the_page_is_open(person: Person, console: Console) -> None:
    console.make("sealed_one", {"token": "a"}, connection_type="sound")
    console.make("sealed_two", {"token": "b"}, connection_type="sound")
    page = person.go("/keys")
    [(old, count)] = rows(page).items()
    assert page.locator("[aria-current=step]").count() == 0
    run(console, page.locator(".stepper code").first.inner_text())
    reread(console, lambda keys: len(keys["keys"]) == 2 and len(keys["nodes"][0]["keys"]) == 2)
    page.reload()
    [new] = rows(page).keys() - {old}
    assert (step(page), rows(page)[new]) == ("Promote it", "0")
    run(console, command(page))
    reread(console, lambda keys: keys["primary"] == keys["nodes"][0]["primary"] == new)
    page.reload()
    assert (step(page), rows(page)) == ("Rotate", {old: count, new: "0"})
    run(console, command(page))
    page.reload()
    assert (step(page), rows(page)) == ("Remove the old key", {old: "0", new: count})
    assert command(page) == f"connectory keys remove {old}"
    run(console, command(page))
    reread(console, lambda keys: old not in [key["kid"] for key in keys["keys"]])
    page.reload()
    assert page.locator("[aria-current=step]").count() == 0
    assert page.locator(".stepper .done").count() == 0
    assert console.api.get("/connection/sealed_one/test").json()["test_status"] == "succeeded"


def test_a_key_that_is_gone_names_what_it_sealed(person: Person, console: Console) -> None:
    console.make("locked", {"token": "marker-token"}, connection_type="sound")
    old = console.api.get("/keys").json()["primary"]
    count = next(key["rows"] for key in console.api.get("/keys").json()["keys"] if key["kid"] == old)
    run(console, "connectory keys add --promote --force")
    run(console, f"connectory keys remove {old} --force")
    reread(console, lambda keys: keys["primary"] != old)
    page = person.go("/keys")
    alert = page.get_by_role("alert").filter(has_text=old)
    expect(alert).to_contain_text(f"{count} connection")
    row = page.get_by_role("region", name="Keys").locator("tbody tr").filter(has=page.get_by_text(old, exact=True))
    expect(row).to_contain_text("Missing")
    alert.get_by_role("link").click()
    expect(page.locator(".found")).to_contain_text(f"{count} connection")
    expect(page.get_by_role("row", name=re.compile("Locked"))).to_contain_text("Secrets unreadable")
    page.get_by_role("link", name="Locked").click()
    expect(page.locator(".notice.bad")).to_contain_text("No key of this service opens its secrets.")
    page.get_by_role("link", name="enter them again").click()
    page.locator("[name='field.token']").fill("again")
    page.get_by_role("button", name="Test and save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert console.api.get("/connection/locked").json()["secrets_state"] == "stored"


def test_a_clients_secret_is_shown_once(person: Person, console: Console) -> None:
    page = person.go("/clients")
    page.get_by_label("Name", exact=True).fill("Backup job")
    page.get_by_role("checkbox", name=re.compile("connection:read")).check()
    page.get_by_role("button", name="Make the client").click()
    secret = page.locator("#made-secret").inner_text()
    credentials = {"client_id": page.locator("#made-id").inner_text(), "client_secret": secret}
    page.reload()
    expect(page.get_by_role("heading", name="Clients")).to_be_visible()
    assert secret not in page.content()
    named = [client for client in console.api.get("/client").json()["items"] if client["name"] == "Backup job"]
    assert [client["scopes"] for client in named] == [["connection:read"]]
    assert secret not in console.service.log.read_text()
    asked = {"grant_type": "client_credentials", **credentials}
    token = httpx.post(f"{console.url}/api/v1/oauth/token", data=asked).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{console.url}/api/v1/connection", headers=bearer).status_code == 200
    page.get_by_role("link", name="Backup job").click()
    expect(page.get_by_role("heading", name="1 token")).to_be_visible()
    page.get_by_role("button", name="Revoke", exact=False).first.click()
    expect(page.get_by_text("The token is revoked.")).to_be_visible()
    assert httpx.get(f"{console.url}/api/v1/connection", headers=bearer).status_code == 401
    page.get_by_role("button", name="Make another secret").click()
    other = page.locator("#made-secret").inner_text()
    page.reload()
    assert other not in page.content()
    asked["client_secret"] = other
    assert httpx.post(f"{console.url}/api/v1/oauth/token", data=asked).status_code == 200


def test_deleting_a_client_signs_out_who_uses_it(
    person: Person, another: Callable[..., Person], console: Console
) -> None:
    made = console.api.post("/client", json={"name": "Visitor", "scopes": ["connection:read"]}).json()
    visitor = another()
    page = visitor.go("/sign-in")
    page.get_by_label("Client id").fill(made["client_id"])
    page.get_by_label("Client secret").fill(made["client_secret"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(console.page("/"))
    owner = person.go(f"/clients/{made['client_id']}")
    owner.get_by_text("Delete …").click()
    owner.get_by_role("button", name="Delete the client").click()
    expect(owner.get_by_role("alert")).to_contain_text("Type the client's name to delete it.")
    owner.get_by_text("Delete …").click()
    owner.get_by_label("Type Visitor").fill("Visitor")
    owner.get_by_role("button", name="Delete the client").click()
    expect(owner.get_by_text("The client is deleted, with its tokens.")).to_be_visible()
    page.get_by_role("link", name="Connections").first.click()
    expect(page.get_by_label("Client secret")).to_be_visible()


def test_the_last_client_that_manages_clients_stays(person: Person, console: Console) -> None:
    [root] = [client for client in console.api.get("/client").json()["items"] if client["name"] == "root"]
    page = person.go(f"/clients/{root['client_id']}")
    page.get_by_text("Delete …").click()
    page.get_by_label("Type root").fill("root")
    page.get_by_role("button", name="Delete the client").click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile("last"))


def test_the_audit_is_filtered_in_the_address_and_downloaded(person: Person, console: Console) -> None:
    console.make("audited", {"token": "a"}, connection_type="sound")
    console.api.post("/connection/audited/test")
    page = person.go("/audit")
    page.get_by_label("Connection", exact=True).fill("audited")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile("connection_key=audited"))
    table = page.locator(".audit tbody tr")
    shown = table.count()
    assert shown >= 2
    page.reload()
    expect(table).to_have_count(shown)
    with page.expect_download() as downloading:
        page.get_by_role("link", name="This page as CSV").click()
    entries = list(csv.DictReader(io.StringIO(downloading.value.path().read_text())))
    assert [entry["connection_key"] for entry in entries] == ["audited"] * shown
    assert entries[0]["action"] == "tested"
    page.get_by_label("Action").fill("tested")
    page.get_by_role("button", name="Show").click()
    expect(table).to_have_count(1)
    page.go_back()
    expect(table).to_have_count(shown)
