"""What hostile pages, names and people can do to somebody who is signed in: nothing."""

import http.server
import re
import threading
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect

from testkit.distribution import install, plugin_source
from testkit.people import Console, Person, running_console
from testkit.service import running_service

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
ICON = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(3)"><script>alert(4)</script><image href="https://evil.example/"/></svg>'
# Everything that a page can have a browser send without asking: a form, pictures, scripts, and what a script fetches.
HOSTILE = """<!DOCTYPE html><title>hostile</title><a href="{console}/connections">a link</a>
<form id="f" method="post" action="{console}/connections/victim/delete" target="answer"><input name="typed" value="victim"></form>
<iframe name="answer"></iframe><iframe id="framed" src="{console}/connections"></iframe>
<img src="{console}/connections/victim">
<img src="{api}/connection/victim/test"><img src="{api}/connection/victim/authorize">
<link rel="stylesheet" href="{console}/connections">
<script>
window.outcomes = [];
const tried = [
  fetch("{console}/connections/victim/delete", {{method: "POST", credentials: "include", mode: "no-cors",
    body: new URLSearchParams({{typed: "victim"}})}}),
  fetch("{console}/connections/victim", {{credentials: "include"}}),
  fetch("{console}/connections/bulk", {{method: "POST", credentials: "include", mode: "no-cors",
    body: new URLSearchParams({{do: "delete", key: "victim", count: "1"}})}}),
];
document.getElementById("f").submit();
Promise.allSettled(tried).then((all) => {{ window.outcomes = all.map((one) => one.status); }});
</script>"""


_MALLORY = plugin_source(
    "mallory",
    hooks={
        "connectory_describe": "@hookimpl\ndef connectory_describe():\n"
        f"    return Description(human_readable={'mallory ' + MARKUP!r}, icon={ICON!r})\n",
        "connectory_test_connection": "@hookimpl\ndef connectory_test_connection(secrets, context):\n"
        f"    with context.step('authenticate'):\n        raise RuntimeError({MARKUP!r})\n",
    },
)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A service with a hostile plugin."""
    folder = tmp_path_factory.mktemp("threats")
    modules = {"mallory_plugin": _MALLORY}
    install(folder / "site", "acme-mallory", entry_points={"mallory": "mallory_plugin"}, modules=modules)
    with running_console(folder / "home", {"PYTHONPATH": str(folder / "site")}) as console:
        yield console


@pytest.fixture(params=["127.0.0.1", "localhost"])
def hostile(request: pytest.FixtureRequest, console: Console) -> Iterator[str]:
    """The address of a page on another port: of the same host, which browsers take for the same site, and of another host."""
    page = HOSTILE.format(console=f"{console.url}/console", api=f"{console.url}/api/v1").encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{request.param}:{server.server_port}/"
        server.shutdown()


def test_a_hostile_page_on_another_port_changes_nothing_and_reads_nothing(
    person: Person, console: Console, hostile: str
) -> None:
    console.make("victim")
    person.tolerated = "CORS|ERR_FAILED|ERR_BLOCKED|frame-ancestors|Refused to frame|MIME|Framing|X-Frame"
    person.elsewhere.add(hostile.rstrip("/"))
    answers: list[tuple[str, int]] = []
    person.page.on("response", lambda answer: answers.append((answer.request.method, answer.status)))
    page = person.page
    page.goto(hostile)
    page.wait_for_function("window.outcomes.length === 3")
    expect(page.frame_locator("#framed").locator("body")).not_to_contain_text("Connections")
    assert console.api.get("/connection/victim").status_code == 200
    assert console.api.get("/connection/victim/test_history").json()["total"] == 0
    posted = [status for method, status in answers if method == "POST"]
    assert posted
    assert set(posted) == {403}
    page.get_by_role("link", name="a link").click()  # a person's own click is a link like any other
    expect(page.get_by_role("heading", name="Connections")).to_be_visible()


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},  # nobody's page sends a form
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {},
    ],
)
def test_a_cookie_counts_for_no_request_that_changes_something_from_elsewhere(
    person: Person, console: Console, headers: dict[str, str]
) -> None:
    console.make("victim")
    [cookie] = person.context.cookies()
    sent = {**headers, "Cookie": f"{cookie['name']}={cookie['value']}", "Accept": "text/html"}
    answer = httpx.post(console.page("/connections/victim/delete"), headers=sent, data={"typed": "victim"})
    assert answer.status_code == 403
    assert console.api.get("/connection/victim").status_code == 200
    if headers.get("Sec-Fetch-Site") != "none":  # a person's own bookmark is not from elsewhere
        read = httpx.get(console.page("/connections/victim"), headers=sent)
        assert read.status_code == 403 or read.headers.get("location", "").startswith("/console/sign-in")


def test_our_own_requests_count_also_in_a_browser_that_tells_only_the_origin(person: Person, console: Console) -> None:
    console.make("own")
    [cookie] = person.context.cookies()
    headers = {"Origin": console.url, "Cookie": f"{cookie['name']}={cookie['value']}", "Accept": "text/html"}
    answer = httpx.post(console.page("/connections/own/delete"), headers=headers, data={"typed": "own"})
    assert answer.status_code == 303
    assert console.api.get("/connection/own").status_code == 404


def test_a_host_that_is_not_ours_is_refused(console: Console) -> None:
    for path in ("/console/", "/console/sign-in", "/console/static/x/console.js"):
        assert httpx.get(console.url + path, headers={"Host": "evil.example"}).status_code == 421


def test_a_name_that_was_bound_to_this_machine_is_refused(person: Person, console: Console) -> None:
    rebound = console.page("/connections").replace("127.0.0.1", "rebound.example")
    person.elsewhere.add(rebound.partition("/console")[0])
    answer = person.page.goto(rebound)
    assert answer is not None
    assert answer.status == 421
    assert person.page.get_by_role("link").count() == 0


def test_markup_in_every_text_stays_text(person: Person, console: Console) -> None:
    name = f"{MARKUP} name"
    console.make("markup", {"host": "h.example", "dbname": MARKUP}, name=name, description=MARKUP)
    dataset = {
        "fides_key": "markup_ds",
        "name": MARKUP,
        "description": MARKUP,
        "collections": [{"name": MARKUP, "fields": []}],
    }
    saved = console.api.patch("/connection/markup/dataset", json=[dataset]).json()
    assert not saved.get("failed")
    console.api.post("/client", json={"name": MARKUP, "scopes": ["audit:read"]})
    for path in (
        "/",
        "/connections",
        f"/connections?search={MARKUP}&connection_type={MARKUP}",
        "/connections/markup",
        "/connections/markup/secrets",
        "/connections/markup/datasets",
        "/connections/markup/datasets/edit?dataset=markup_ds",
        "/connections/new?type=" + MARKUP,
        f"/catalogue?search={MARKUP}",
        f"/find?search={MARKUP}",
        "/clients",
        f"/audit?connection_key={MARKUP}",
        f"/sign-in?next={MARKUP}",
        f"/connections?done={MARKUP}",
    ):
        page = person.go(path)
        assert page.locator("main img[src=x], main script").count() == 0, path
    assert MARKUP in page.goto(console.page("/connections/markup")).text().replace("&lt;", "<").replace("&gt;", ">")


def test_a_hostile_plugin_is_text_and_a_picture_too(person: Person) -> None:
    for path in ("/catalogue", "/connections/new?type=mallory", "/plugins", "/find?search=mallory"):
        page = person.go(path)
        expect(page.locator("main")).to_contain_text("mallory")
        assert page.locator("main img[src=x], main script, main svg[onload]").count() == 0, path
    page = person.go("/connections/new?type=mallory")
    expect(page.locator("main")).to_contain_text("onerror=alert(1)")
    page.locator("[name='field.token']").fill("marker-token")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".verdict-title")).to_have_text(re.compile("^(Passed|Failed)"))
    assert page.locator("main img[src=x], main script").count() == 0


def test_two_consoles_on_one_host_do_not_sign_each_other_out(
    person: Person, console: Console, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("second") / "home"
    with running_service(home) as service:
        other = Console(service, home, console.api)
        person.page.goto(other.link())
        person.page.get_by_role("button", name="Sign in").click()
        person.page.wait_for_url(other.page("/"))
        expect(person.go("/connections").get_by_role("heading", name="Connections")).to_be_visible()
        assert len(person.context.cookies()) == 2


def test_the_documentation_of_the_api_asks_nobody_else_either(person: Person, console: Console) -> None:
    person.page.goto(f"{console.url}/docs")
    expect(person.page.get_by_role("heading", name="Connectory").first).to_be_visible()
    assert {origin for origin in person.visited if not origin.startswith("data:")} == {console.url}


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(console: Console, wanted: str) -> None:
    made = console.api.post("/client", json={"name": "x", "scopes": ["audit:read"]}).json()
    form = {"client_id": made["client_id"], "client_secret": made["client_secret"], "next": wanted}
    answer = httpx.post(console.page("/sign-in"), data=form, headers={"Origin": console.url})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")


def test_a_plain_http_address_of_another_machine_is_refused_to_sign_in_on(console: Console) -> None:
    headers = {"Host": "10.0.0.7:8000", "Origin": "http://10.0.0.7:8000", "Accept": "text/html"}
    answer = httpx.post(console.page("/sign-in"), headers=headers, data={"client_id": "a", "client_secret": "b"})
    assert answer.status_code == 403
    assert "CONNECTORY_PUBLIC_URL" in answer.text
