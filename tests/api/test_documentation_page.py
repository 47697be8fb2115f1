"""`/docs` in a real browser: it shows every operation, from this service alone, under a policy that lets nothing else in."""

from urllib.parse import urlsplit

import httpx
import pytest

from testkit.browser import Browser
from testkit.service import running_service

OPERATIONS = "document.querySelectorAll('.opblock').length"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("page") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def browser(running):
    """A browser on the page, once it shows operations."""
    with Browser() as browser:
        browser.open(f"{running.url}/docs")
        browser.wait_for(OPERATIONS)
        yield browser


def refusals(browser, count):
    entries = [told["entry"] for told in browser.told("Log.entryAdded")]
    found = [entry["text"] for entry in entries if entry["source"] == "security"]
    return found if len(found) >= count else []


def test_every_operation_is_shown_and_can_be_tried(running, browser):
    """With nothing refused by the page's policy, nothing on the console, and no request that leaves the service."""
    document = httpx.get(f"{running.url}/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert browser.evaluate(OPERATIONS) == len(operations)
    health = "document.querySelector('#operations-Operation-getHealth')"
    for control in (".opblock-summary-control", ".try-out__btn", ".execute"):
        browser.wait_for(f"!!{health}.querySelector('{control}')")
        browser.evaluate(f"{health}.querySelector('{control}').click()")
    status = browser.wait_for(f"{health}.querySelector('.live-responses-table tbody .response-col_status')?.innerText")
    assert status.startswith("200")

    asked = [urlsplit(told["request"]["url"]) for told in browser.told("Network.requestWillBeSent")]
    assert {f"{url.scheme}://{url.netloc}" for url in asked} - {"data://"} == {running.url}
    assert {"/docs", "/docs/swagger-ui.js", "/openapi.json", "/health"} <= {url.path for url in asked}
    assert browser.told("Log.entryAdded") == []
    assert browser.told("Runtime.consoleAPICalled") == []
    assert browser.told("Runtime.exceptionThrown") == []


def test_what_does_not_come_from_the_service_is_refused(running):
    """The proof that the other test would have seen it."""
    intruders = {
        "script-src": "script'), {textContent: 'document.title = 1'}",
        "style-src": "style'), {textContent: 'body {color: red}'}",
        "img-src": "img'), {src: 'http://127.0.0.1:1/x.png'}",
    }
    with Browser() as browser:
        browser.open(f"{running.url}/docs")
        browser.wait_for("!!document.body")  # the policy holds before the operations are drawn
        for intruder in intruders.values():
            browser.evaluate(f"document.body.append(Object.assign(document.createElement('{intruder}))")
        texts = browser.wait_until_told(lambda: refusals(browser, len(intruders)))
        for directive, text in zip(intruders, texts, strict=True):
            assert "violates the following Content Security Policy directive" in text
            assert directive in text


def test_the_policy_allows_no_inline_script_and_no_other_origin(running):
    page = httpx.get(f"{running.url}/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "//" not in page.text
    for part in ("favicon.png", "swagger-ui.css", "swagger-ui.js", "start.js"):
        assert f"docs/{part}" in page.text
        answer = httpx.get(f"{running.url}/docs/{part}")
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (200, "nosniff")
    assert httpx.get(f"{running.url}/docs/__init__.py").status_code == 404


def test_the_documentation_can_be_turned_off(tmp_path):
    with running_service(tmp_path / "home", {"CONNECTORY_DOCS": "false"}) as running:
        assert "/docs" not in running.ready_line
        for path in ("/docs", "/docs/start.js", "/openapi.json"):
            answer = httpx.get(f"{running.url}{path}")
            assert (answer.status_code, answer.json()) == (404, {"detail": "There is nothing at this path."})
        assert httpx.get(f"{running.url}/health").status_code == 200
