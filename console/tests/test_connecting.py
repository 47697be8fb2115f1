"""Making and changing connections, in a real browser, against a real PostgreSQL."""

import re

import pytest
from playwright.sync_api import Page, Request, Route, expect

from connectory.testing import free_port
from servers.postgres.server import PostgresServer
from testkit.people import Console, Person
from testkit.waiting import wait_until

pytestmark = pytest.mark.usefixtures("by_keyboard")

NAME = "Journey shop"


def fill(page: Page, secrets: dict[str, object]) -> None:
    labels = {"host": "Host", "port": "Port", "username": "Username", "password": "Password", "dbname": "Database"}
    for name, value in secrets.items():
        page.get_by_label(re.compile(f"^{labels[name]}")).fill(str(value))


def test_from_the_catalogue_to_a_connection_that_passed(person: Person, console: Console, good_secrets: dict) -> None:
    """Find the type, enter a wrong password, see which step fails and where, correct it, save."""
    page = person.go("/catalogue")
    page.get_by_label("Search the catalogue").fill("postg")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="PostgreSQL").click()
    page.get_by_label("Name", exact=True).fill(NAME)
    fill(page, good_secrets | {"password": "marker-wrong"})
    page.get_by_role("button", name="Test and save").click()
    failed = page.locator(".steps .failed")
    expect(failed).to_contain_text("authenticate")
    expect(page.locator(".verdict")).to_contain_text("Failed: Auth failed")
    password = page.get_by_label("Password", exact=False).first
    expect(password).to_have_attribute("aria-invalid", "true")
    expect(password).to_be_focused()
    expect(page.get_by_role("link", name=re.compile("^Go to "))).to_be_visible()
    assert console.api.get("/connection", params={"search": NAME}).json()["total"] == 0
    fill(page, {"password": good_secrets["password"]})
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".verdict-title")).to_have_text("Passed")
    assert console.api.get("/connection", params={"search": NAME}).json()["total"] == 0
    page.get_by_role("button", name="Test and save").click()
    page.wait_for_url(console.page("/connections/journey_shop?done=created"))
    expect(page.get_by_text("The connection is stored.")).to_be_visible()
    page.get_by_role("link", name="Connections").first.click()
    expect(page.get_by_role("row", name=re.compile(NAME))).to_contain_text("Passed")
    assert "marker-wrong" not in person.stored_in_browser() + console.service.log.read_text()


def test_a_draft_test_stores_nothing_and_is_in_the_audit(person: Person, console: Console, good_secrets: dict) -> None:
    page = person.go("/connections/new?type=postgres")
    fill(page, good_secrets)
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".verdict-title")).to_have_text("Passed")
    assert page.locator(".steps li").all_inner_texts()[0].startswith(("✓\nresolve", "✓\nResolve"))
    found = console.api.get("/audit", params={"action": "draft_tested"}).json()["items"]
    assert found
    assert console.api.get("/connection", params={"search": "draft"}).json()["total"] == 0


def test_what_the_api_does_not_take_is_told_at_its_field(person: Person) -> None:
    page = person.go("/connections/new?type=postgres")
    fill(page, {"host": "http://db.example", "port": "high"})
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".form > .problems")).to_be_focused()
    port = page.get_by_label(re.compile("^Port"))
    expect(port).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#f-port-problem")).to_have_text("Must be an integer from 1 to 65535.")
    page.locator(".form > .problems").get_by_role("link", name="Port").click()
    expect(port).to_be_focused()
    page.get_by_role("button", name="Save without testing").click()
    expect(page.locator("#f-name-problem")).to_have_text("Give the connection a name.")
    expect(page.get_by_label(re.compile("^Host"))).to_have_value("http://db.example")


def test_a_changed_field_is_looked_at_as_it_is_left(person: Person, console: Console) -> None:
    """Its problem comes and goes, focus stays where the person is, and of what nobody was at yet nothing is said."""
    console.make("looked_at")
    page = person.go("/connections/new?type=postgres")
    looks: list[Request] = []
    held: list[Route] = []
    page.on("request", lambda request: looks.append(request) if request.method == "POST" else None)
    name, key, invalid = page.get_by_label("Name", exact=True), page.locator("#f-key"), page.locator("[aria-invalid]")
    name.fill("Looked at")
    expect(page.locator("[data-key]")).to_have_text("looked_at")
    page.keyboard.press("Tab")
    expect(page.locator("#f-name-problem")).to_contain_text("Another connection has the key looked_at.")
    expect(key).to_be_focused()
    expect(invalid).to_have_count(1)
    key.fill("looked_at")
    page.keyboard.press("Tab")
    expect(page.locator("#f-key-problem")).to_contain_text("Another connection has this key.")
    expect(page.locator("#f-name-problem")).to_have_count(0)
    key.fill("")
    name.fill("Élan vital")
    expect(page.locator("[data-key]")).to_have_text("elan_vital")
    expect(invalid).to_have_count(0)
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.keyboard.press("Tab")

    page.locator("#f-description").fill("d" * 5001)
    page.keyboard.press("Tab")
    expect(page.locator("#f-description-problem")).to_have_text("Must have at most 5000 characters.")
    page.locator("#f-description").fill("")
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.keyboard.press("Tab")
    before, port = len(looks), page.get_by_label(re.compile("^Port"))
    port.fill("high")
    page.keyboard.press("Tab")
    expect(page.locator("#f-port-problem")).to_have_text("Must be an integer from 1 to 65535.")
    expect(page.locator("[data-says]")).to_have_text("Port: Must be an integer from 1 to 65535.")
    expect(page.get_by_label(re.compile("^Username"))).to_be_focused()
    assert len(looks) == before + 1

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/connections/new?*", hold, times=1)
    port.fill("higher")
    with page.expect_request(lambda request: request.method == "POST"):
        page.keyboard.press("Tab")
    with page.expect_event("requestfailed") as given_up:  # its answer would be late
        port.fill("5432")
        page.keyboard.press("Tab")
    assert given_up.value == held[0].request
    expect(invalid).to_have_count(0)
    assert console.api.get("/connection", params={"search": "vital"}).json()["total"] == 0


def test_hints_are_no_problems_and_a_url_in_the_host_moves_to_its_own_field(person: Person) -> None:
    page = person.go("/connections/new?type=postgres")
    host, password = page.get_by_label(re.compile("^Host")), page.get_by_label(re.compile("^Password"))
    password.fill("marker-with-a-blank ")
    page.keyboard.press("Tab")
    expect(page.locator("#f-password-hint")).to_have_text("The value begins or ends with a blank. It is kept as it is.")
    expect(page.locator("#f-password-hint")).to_be_visible()
    expect(password).to_have_value("marker-with-a-blank ")
    expect(password).not_to_have_attribute("aria-invalid", "true")
    password.fill("marker-without")
    page.keyboard.press("Tab")
    expect(page.locator("#f-password-hint")).to_be_hidden()
    host.fill("db.example")
    page.keyboard.press("Tab")
    host.fill("postgresql://reader:marker@other.example/app")
    page.get_by_role("button", name="Use it as the URL").click()
    expect(page.get_by_role("radio", name="One URL")).to_be_checked()
    expect(page.locator("#f-url")).to_be_focused()
    expect(page.locator("#f-url")).to_have_value("postgresql://reader:marker@other.example/app")
    expect(host).to_have_value("db.example")
    page.reload()
    page.get_by_role("radio", name="One field each").check(force=True)
    expect(host).to_have_value("db.example")


def test_a_form_half_filled_outlives_reload_and_back_without_its_secrets(person: Person) -> None:
    page = person.go("/connections/new?type=postgres")
    page.get_by_label("Name", exact=True).fill("Half done")
    fill(page, {"host": "db.example", "password": "marker-secret"})
    page.get_by_role("radio", name="Read and write").check(force=True)
    expect(page.locator("details.advanced")).not_to_have_attribute("open", "")
    page.get_by_text("Advanced", exact=True).click()
    page.locator("[name='field.ssl_mode']").select_option('"required"')
    page.reload()
    expect(page.locator("details.advanced")).to_have_attribute("open", "")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Half done")
    expect(page.get_by_role("radio", name="Read and write")).to_be_checked()
    person.go("/connections")
    page.go_back()
    expect(page.get_by_label(re.compile("^Host"))).to_have_value("db.example")
    expect(page.get_by_label(re.compile("^Password"))).to_have_value("")
    assert "marker-secret" not in person.stored_in_browser()


def test_url_and_parts_keep_both_sides_and_send_one(person: Person, console: Console, good_secrets: dict) -> None:
    url = "postgresql://{username}:{password}@{host}:{port}/{dbname}".format(**good_secrets)
    page = person.go("/connections/new?type=postgres")
    page.get_by_label("Name", exact=True).fill("By url")
    fill(page, {"host": "not.this.example"})
    page.get_by_role("radio", name="One URL").check(force=True)
    expect(page.get_by_label(re.compile("^Host"))).to_be_hidden()
    page.get_by_label(re.compile("^URL")).fill(url)
    page.get_by_role("radio", name="One field each").check(force=True)
    expect(page.get_by_label(re.compile("^Host"))).to_have_value("not.this.example")
    page.get_by_role("radio", name="One URL").check(force=True)
    page.get_by_role("button", name="Test and save").click()
    page.wait_for_url(console.page("/connections/by_url?done=created"))
    assert list(console.api.get("/connection/by_url").json()["secrets"]) == ["url"]
    person.go("/connections/by_url/secrets")
    expect(page.get_by_role("radio", name="One URL")).to_be_checked()


def test_stored_secrets_are_kept_when_something_else_changes(
    person: Person, console: Console, good_secrets: dict
) -> None:
    console.make("kept", good_secrets)
    page = person.go("/connections/kept")
    page.get_by_label(re.compile("^Description")).fill("Only this changes.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_role("button", name="Test now").click()
    expect(page.locator(".verdict-title")).to_have_text("Passed")
    person.go("/connections/kept/secrets")
    assert "***" not in page.evaluate(
        "[...document.querySelectorAll('input, textarea')].map((one) => one.value).join()"
    )
    page.get_by_label(re.compile("^Database")).fill("")
    page.get_by_role("button", name="Test and save").click()
    page.wait_for_url(console.page("/connections/kept?done=saved"))
    assert console.api.get("/connection/kept").json()["secrets"].keys() == good_secrets.keys() - {"dbname"}
    assert console.api.get("/connection/kept/test").json()["test_status"] == "succeeded"


def test_an_optional_secret_that_is_stored_can_be_removed(person: Person, console: Console, good_secrets: dict) -> None:
    console.make("forgetful", good_secrets)
    page = person.go("/connections/forgetful/secrets")
    page.get_by_role("radio", name="Remove").check()
    page.get_by_role("button", name="Save without testing").click()
    page.wait_for_url(console.page("/connections/forgetful?done=saved"))
    assert "password" not in console.api.get("/connection/forgetful").json()["secrets"]


def test_another_host_asks_for_the_secrets_at_once(person: Person, console: Console, good_secrets: dict) -> None:
    console.make("moving", good_secrets)
    page = person.go("/connections/moving/secrets")
    expect(page.get_by_role("radio", name="Keep")).to_be_checked()
    page.get_by_label(re.compile("^Host")).fill("localhost")
    expect(page.get_by_text("Host changes, so what is stored will not be sent there; enter it again.")).to_be_visible()
    expect(page.get_by_role("radio", name="Replace")).to_be_checked()
    page.get_by_role("button", name=re.compile("^Undo")).click()
    expect(page.get_by_role("radio", name="Keep")).to_be_checked()
    expect(page.get_by_label(re.compile("^Host"))).to_have_value(str(good_secrets["host"]))
    page.get_by_label(re.compile("^Database")).fill("a\x7fb")
    page.keyboard.press("Tab")
    expect(page.locator("#f-dbname-problem")).to_be_visible()
    expect(page.locator("[aria-invalid]")).to_have_count(1)
    expect(page.get_by_role("radio", name="Keep")).to_be_checked()


def test_two_people_edit_one_connection(person: Person, colleague: Person, console: Console) -> None:
    """Both versions are shown, also after a reload and after Back, and what nobody touched stays as it is."""
    console.make("shared", description="Two\nlines")
    first, second = person.go("/connections/shared"), colleague.go("/connections/shared")
    first.get_by_label("Name", exact=True).fill("From the first")
    first.get_by_role("button", name="Save").click()
    expect(first.get_by_text("Saved.")).to_be_visible()
    second.get_by_label("Name", exact=True).fill("From the second")
    second.reload()
    second.get_by_role("button", name="Save").click()
    expect(second.locator("main")).to_contain_text("Somebody changed this connection while you edited it")
    second.go_back()
    expect(second.get_by_label("Name", exact=True)).to_have_value("From the second")
    second.get_by_role("button", name="Save").click()
    row = second.get_by_role("row", name=re.compile("^name"))
    expect(row).to_contain_text("From the first")
    expect(row).to_contain_text("From the second")
    second.get_by_role("button", name="Save mine").click()
    expect(second.get_by_role("heading", name="From the second")).to_be_visible()
    assert console.api.get("/connection/shared").json()["description"] == "Two\nlines"
    first.get_by_label("Name", exact=True).fill("Typed late")
    first.get_by_role("button", name="Save").click()
    first.get_by_role("link", name="Keep what is stored").click()
    expect(first.get_by_label("Name", exact=True)).to_have_value("From the second")
    first.get_by_label("Name", exact=True).fill("")
    first.keyboard.press("Tab")
    expect(first.locator("#f-name-problem")).to_have_text("Give the connection a name.")


def test_a_connection_is_watched_and_its_changes_are_told(
    person: Person, console: Console, postgres: PostgresServer, good_secrets: dict
) -> None:
    postgres.execute("CREATE ROLE watched LOGIN PASSWORD 'marker-before'")
    console.make("watched", good_secrets | {"username": "watched", "password": "marker-before"})
    page = person.go("/connections/watched/health")
    expect(page.get_by_role("heading", name="Nothing was found out yet")).to_be_visible()
    page.get_by_role("link", name="Watch it").click()
    page.get_by_label("Test it every").fill("now and then")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#f-test_every-problem")).to_contain_text("whole number of minutes")
    page.get_by_label("Test it every").fill("15m")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("The schedule is saved.")).to_be_visible()
    expect(page.locator(".facts").first).to_contain_text("every 15 minutes")
    nowhere = f"http://127.0.0.1:{free_port()}"
    tell(page, nowhere, "short")
    expect(page.locator("#f-secret-problem")).to_contain_text("16 characters")
    tell(page, nowhere, "marker-of-sixteen")
    expect(page.get_by_text("Changes will be told there.")).to_be_visible()
    assert console.api.post("/connection/watched/test").json()["test_status"] == "succeeded"
    postgres.execute("ALTER ROLE watched PASSWORD 'marker-after'")
    assert console.api.post("/connection/watched/test").json()["failure_code"] == "auth_failed"
    wait_until(lambda: console.api.get("/connection/watched/webhook").json()["last_delivery"])
    page.reload()
    expect(page.locator(".facts").last).to_contain_text(re.compile("Not taken, .*Connect refused", re.DOTALL))
    page.get_by_label("Address").fill(f"{nowhere}/elsewhere")
    expect(page.get_by_text("The address changes, so what is stored will not be sent there")).to_be_visible()
    expect(page.get_by_role("radio", name="Replace")).to_be_checked()
    page.get_by_role("radio", name="Keep").check()
    page.get_by_role("button", name="Save").last.click()
    expect(page.locator("#f-secret-problem")).to_contain_text("enter it again")
    page.get_by_label("New secret").fill("marker-of-sixteen, again")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_text("Changes will be told there.")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nobody is told of changes any more.")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    told = {name: console.api.get(f"/connection/watched/{name}").status_code for name in ("schedule", "webhook")}
    assert told == {"schedule": 404, "webhook": 404}
    page.get_by_role("link", name="What was found so far").click()
    expect(page.get_by_role("img", name="2 verdicts, oldest first: 1 good, 0 drifted, 1 failed")).to_be_visible()
    page.get_by_role("link", name="Failed").click()
    expect(page).to_have_url(re.compile(r"health\?outcome=failed$"))
    expect(page.locator("tbody tr")).to_have_text([re.compile("Test.*Failed.*Auth failed", re.DOTALL)])


def tell(page: Page, url: str, secret: str) -> None:
    """Enter a webhook."""
    page.get_by_label("Address").fill(url)
    page.get_by_label("Secret").fill(secret)
    page.get_by_role("button", name="Save").last.click()


def test_deleting_takes_the_key(person: Person, console: Console) -> None:
    console.make("doomed")
    page = person.go("/connections/doomed")
    page.get_by_text("Delete …").click()
    page.get_by_role("button", name="Delete doomed").click()
    expect(page.locator("main")).to_contain_text("Type the key, doomed")
    page.get_by_label("Type doomed").fill("doomed")
    page.get_by_role("button", name="Delete doomed").click()
    expect(page.get_by_text("The connection is deleted.")).to_be_visible()
    assert console.api.get("/connection/doomed").status_code == 404


def test_everything_works_before_any_script_ran(another, console: Console, good_secrets: dict) -> None:
    person = another(java_script_enabled=False)
    made = console.api.post("/client", json={"name": "no scripts", "scopes": list(scopes(console))}).json()
    page = person.go("/connections/new?type=postgres")
    page.get_by_label("Client id").fill(made["client_id"])
    page.get_by_label("Client secret").fill(made["client_secret"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Name", exact=True).fill("Without scripts")
    fill(page, good_secrets | {"password": "marker-wrong"})
    page.get_by_role("button", name="Test and save").click()
    expect(page.locator(".verdict")).to_contain_text("Failed: Auth failed")
    expect(page.get_by_label(re.compile("^Host"))).to_have_value(str(good_secrets["host"]))
    assert "marker-wrong" not in page.content()
    fill(page, {"password": good_secrets["password"]})
    page.get_by_role("button", name="Test and save").click()
    expect(page.get_by_text("The connection is stored.")).to_be_visible()
    page.get_by_role("button", name="Test now").click()
    expect(page.locator(".verdict")).to_contain_text("Passed")
    page.get_by_role("combobox", name="Go to a page, a connection or a system").fill("without scr")
    page.keyboard.press("Enter")
    page.wait_for_url(console.page("/connections/without_scripts"))
    console.make("without_secrets")
    person.go("/connections?search=without_s")
    for key in ("without_scripts", "without_secrets"):
        page.locator(f"[value={key}]").check()
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_role("heading", name="1 of 2 done")).to_be_visible()
    page.get_by_role("button", name="Retry these").click()
    expect(page.get_by_role("heading", name="0 of 1 done")).to_be_visible()


def scopes(console: Console) -> set[str]:
    [root] = [client for client in console.api.get("/client").json()["items"] if client["name"] == "root"]
    return set(root["scopes"])
