"""What hostile pages, names and people can do to somebody who is signed in: nothing."""

import http.server
import threading
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect

from testkit.people import Console, Person
from testkit.service import running_service

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
# Everything that a page can have a browser send without asking: a form, pictures, scripts, and what a script fetches.
HOSTILE = """<!DOCTYPE html><title>hostile</title><a href="{console}/connections">a link</a>
<form id="f" method="post" action="{console}/connections/victim/delete" target="answer"><input name="typed" value="victim"></form>
<iframe name="answer"></iframe><iframe id="framed" src="{console}/connections"></iframe>
<img src="{console}/connections/victim"><link rel="stylesheet" href="{console}/connections">
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


@pytest.fixture
def hostile(console: Console) -> Iterator[str]:
    """The address of a page on another port of the same host, which browsers take for the same site."""
    page = HOSTILE.format(console=f"{console.url}/console").encode()

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
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_hostile_page_on_another_port_changes_nothing_and_reads_nothing(
    person: Person, console: Console, hostile: str
) -> None:
    console.make("victim")
    person.tolerated = "CORS|ERR_FAILED|ERR_BLOCKED|frame-ancestors|Refused to frame|MIME|Framing|X-Frame"
    answers: list[tuple[str, int]] = []
    person.page.on("response", lambda answer: answers.append((answer.request.method, answer.status)))
    page = person.page
    page.goto(hostile)
    page.wait_for_function("window.outcomes.length === 3")
    expect(page.frame_locator("#framed").locator("body")).not_to_contain_text("Connections")
    assert console.api.get("/connection/victim").status_code == 200
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
