"""`/connection/{key}/authorize` and `/oauth/callback`, with a real provider and a connector that needs consent."""

import re
import subprocess
import sys
import time
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from connectory.api.app import create_app, open_service
from connectory.api.consents.consent_url import ConsentImpossible, challenge_of, consent_url, new_verifier
from connectory.catalog.catalog import build_catalog
from connectory.catalog.discovery import Selection
from connectory.catalog.survey import ConnectorLost
from connectory.contract.consent import Authorization
from connectory.scopes import SCOPES
from connectory.store.audit_search import Wanted, list_entries
from connectory.store.clients import create_client, find_client, issue_token
from connectory.store.connections import get_by_key
from connectory.store.envelopes import load_envelopes, load_tokens
from connectory.store.timestamps import utc_now
from servers.oauth.provider import OauthProvider
from testkit.distribution import install
from testkit.service import run_command, running_service

CALLBACK = "/api/v1/oauth/callback"
ORIGIN = "https://connectory.example"
REDIRECT = f"{ORIGIN}{CALLBACK}"
UNKNOWN = {"detail": "No authentication request found for the given state."}
PLUGIN = Path(__file__).with_name("archive_plugin.py").read_text()


@pytest.fixture(scope="module")
def provider():
    with OauthProvider() as started:
        yield started


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """A folder for `sys.path` with the connector `archive`."""
    folder = tmp_path_factory.mktemp("archive")
    install(folder, "acme-archive", entry_points={"archive": "archive_plugin"}, modules={"archive_plugin": PLUGIN})
    return folder


@pytest.fixture(scope="module")
def browser(settings, plugins):
    """A client without a token that keeps cookies, as a person's browser is."""
    sys.path.insert(0, str(plugins))
    catalog = build_catalog(Selection(allow=frozenset({"archive", "manual"})), environment={})
    app = create_app(open_service(settings, catalog))
    with TestClient(app, base_url=ORIGIN, raise_server_exceptions=False) as client:
        yield client
    sys.path.remove(str(plugins))


@pytest.fixture
def backend(browser):
    """What `browser` talks to."""
    return browser.app.state.service


class Archive:
    """Requests about connections of type `archive`."""

    def __init__(self, browser, token, provider) -> None:
        self.browser, self.provider = browser, provider
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, method, path, **options):
        return self.browser.request(method, f"/api/v1{path}", headers=self.headers, **options)

    def create(self, key="deeds", kind="archive", **secrets) -> dict:
        """A connection whose secrets are those of a new client of the provider."""
        item = {"key": key, "name": key, "connection_type": kind, "access": "read"}
        assert self("PATCH", "/connection", json=[item]).json()["failed"] == []
        document = {"host": self.provider.host, "port": self.provider.port, "redirect_uri": REDIRECT}
        document |= self.provider.register(REDIRECT) | secrets
        self.store(document, key)
        return document

    def store(self, document, key="deeds") -> None:
        assert self("PUT", f"/connection/{key}/secret?verify=false", json=document).status_code == 200

    def authorize(self, key="deeds") -> httpx.Response:
        return self("GET", f"/connection/{key}/authorize")

    def answer(self, key="deeds", **options) -> dict[str, str]:
        """The query with which a person comes back who was asked for consent."""
        where, query = self.provider.answer(self.authorize(key).json(), **options)
        assert where == REDIRECT
        return query

    def come_back(self, query, browser=None) -> httpx.Response:
        answer = (browser or self.browser).get(CALLBACK, params=query)
        assert answer.headers["cache-control"] == "no-store"
        return answer

    def confirm(self, confirmation, key="deeds", **options) -> httpx.Response:
        path = f"/connection/{key}/authorization/confirm"
        return self("POST", path, json={"confirmation": confirmation}, **options)

    def test(self, key="deeds") -> dict:
        return self("GET", f"/connection/{key}/test").json()

    def authorized(self, key="deeds") -> bool:
        return self("GET", f"/connection/{key}").json()["authorized"]


@pytest.fixture
def archive(browser, token, provider, backend):
    yield Archive(browser, token, provider)
    with backend.store.write() as database:
        database.execute(text("DELETE FROM connections"))


def tokens_of(backend, key="deeds") -> str | None:
    with backend.store.read() as database:
        return load_tokens(database, get_by_key(database, key).id)


# The whole way


def test_a_person_consents_and_the_connection_works(archive, backend):
    archive.create()
    before = archive.test()
    assert (before["test_status"], before["failure_code"]) == ("failed", "auth_failed")
    assert before["failure_reason"] == (
        "Nobody has authorized this connection yet; a person does so at the address that "
        "GET /api/v1/connection/deeds/authorize answers."
    )
    assert archive.authorized() is False
    answer = archive.come_back(archive.answer())
    assert answer.status_code == 200
    assert answer.json() == {"msg": "Authorization completed for ConnectionConfig with key: deeds."}
    assert archive.authorized() is True
    assert archive.test()["test_status"] == "succeeded"


def test_a_test_stores_the_tokens_that_it_renewed(archive, backend):
    archive.create()
    archive.come_back(archive.answer())
    envelopes = [tokens_of(backend)]
    for _ in range(2):
        assert archive.test()["test_status"] == "succeeded"
        envelopes.append(tokens_of(backend))
    assert len(set(envelopes)) == 3


def test_consent_that_was_withdrawn_fails_the_test_with_the_way_back(archive, provider):
    archive.create()
    archive.come_back(archive.answer(person="bob"))
    provider.revoke("bob")
    report = archive.test()
    assert report["failure_code"] == "auth_failed"
    assert report["failure_reason"].endswith("renew it with GET /api/v1/connection/deeds/authorize.")
    archive.come_back(archive.answer(person="bob"))
    assert archive.test()["test_status"] == "succeeded"


def test_the_trail_tells_who_asked_and_how_it_ended(archive, backend):
    archive.create()
    archive.come_back(archive.answer())
    with backend.store.read() as database:
        connection = get_by_key(database, "deeds")
        entries = [
            entry
            for entry in list_entries(database, Wanted(connection_key="deeds"))[0]
            if entry.connection_id == connection.id
        ]
    ended, asked = entries[:2]
    assert (ended.actor, ended.action, ended.result_code) == (asked.actor, "authorized", "succeeded")
    assert ended.request_id not in (None, asked.request_id)
    assert ended.kid == backend.vault.ring.primary
    assert asked.action == "consent_asked"
    with backend.store.read() as database:
        assert find_client(database, asked.actor)


# The address


def test_the_address_asks_for_what_the_connector_says(archive):
    document = archive.create()
    answer = archive.authorize()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    address = urlsplit(answer.json())
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{archive.provider.url}/oauth2/authorize"
    query = dict(parse_qsl(address.query, strict_parsing=True))
    assert (len(query.pop("state")), len(query.pop("code_challenge"))) == (43, 43)
    assert query == {
        "response_type": "code",
        "client_id": document["client_id"],
        "redirect_uri": REDIRECT,
        "scope": "openid email",
        "code_challenge_method": "S256",
        "access_type": "offline",
    }
    assert archive.authorize().json() != answer.json()


def test_a_challenge_is_what_authlib_makes_of_the_verifier():
    verifier = new_verifier()
    # In a process of its own, because importing Authlib warns.
    script = "import sys; from authlib.oauth2.rfc7636 import create_s256_code_challenge as c; print(c(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", script, verifier], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == challenge_of(verifier)


def test_the_provider_refuses_an_unregistered_redirect_uri(archive, provider):
    """It must be exactly the registered one."""
    for number, other in enumerate((f"{REDIRECT}/", REDIRECT.upper(), f"{REDIRECT}?x=1", "https://evil.example/")):
        key = f"deeds_{number}"
        archive.create(key, redirect_uri=other)
        address = archive.authorize(key).json()
        assert parse_qs(urlsplit(address).query)["redirect_uri"] == [other]
        assert provider.consent(address).status_code == 400


def consent(**changed):
    parts = {
        "authorize_url": "https://provider.example/authorize",
        "token_url": "https://provider.example/token",
        "client_id": "client",
        "redirect_uri": "https://connectory.example/back",
    }
    return consent_url(Authorization(**parts | changed), "the-state", None)


def test_a_provider_without_challenges_gets_none():
    assert consent() == (
        "https://provider.example/authorize?response_type=code&client_id=client"
        "&redirect_uri=https%3A%2F%2Fconnectory.example%2Fback&state=the-state"
    )
    assert consent(redirect_uri="http://[::1]:8000/back?x=y").endswith("%3A8000%2Fback%3Fx%3Dy&state=the-state")


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "http://provider.example/",
        "ftp://provider.example/",
        "//provider.example/",
        "https:///path",
        "https://user@provider.example/",
        "https://provider.example/#part",
        "https://provider.example/#",
        "https://provider.example/a b",
        "https://provider.example\\@evil.example/",
        "https://provider.example/\r\nx",
        "https://prövider.example/",
        "https://[provider.example/",
        "https://provider.example:port/",
        "",
    ],
)
@pytest.mark.parametrize("part", ["authorize_url", "redirect_uri"])
def test_an_address_that_a_browser_must_not_be_sent_to_is_refused(part, address):
    with pytest.raises(ConsentImpossible) as problem:
        consent(**{part: address})
    assert "provider.example" not in str(problem.value)


def test_what_else_a_connector_may_get_wrong_is_refused():
    for changed in (
        {"authorize_url": "https://provider.example/?x=1"},
        {"client_id": ""},
        {"extra_parameters": {"state": "mine"}},
        {"extra_parameters": {"code_challenge_method": "plain"}},
    ):
        with pytest.raises(ConsentImpossible):
            consent(**changed)


# The browser


@pytest.fixture
def another_browser(browser):
    """A browser that asked for nothing."""
    return TestClient(browser.app, base_url=ORIGIN, raise_server_exceptions=False)


def test_a_consent_that_another_browser_brings_stores_nothing(archive, backend, another_browser, provider):
    """As when somebody sends the address of their consent to somebody else, who consents."""
    archive.create()
    query = archive.answer()
    exchanged = len(provider.seen())
    answer = archive.come_back(query, another_browser)
    assert answer.status_code == 202
    held = answer.json()
    assert (held["connection_key"], held["asked_by"]) == ("deeds", "test")
    assert "POST /api/v1/connection/deeds/authorization/confirm" in held["msg"]
    assert len(held["confirmation"]) == 43
    assert len(provider.seen()) == exchanged  # the code is not even exchanged
    assert (archive.authorized(), tokens_of(backend)) == (False, None)
    # Who asked knows the state, and cannot go on from there.
    assert archive.come_back(query).json() == UNKNOWN
    assert archive.confirm(query["state"]).status_code == 404
    assert archive.authorized() is False


def test_a_held_consent_counts_once_somebody_confirms_it(archive, backend, another_browser):
    archive.create()
    confirmation = archive.come_back(archive.answer(), another_browser).json()["confirmation"]
    answer = archive.confirm(confirmation)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json() == {"msg": "Authorization completed for ConnectionConfig with key: deeds."}
    assert archive.test()["test_status"] == "succeeded"
    again = archive.confirm(confirmation)
    assert (again.status_code, again.json()["detail"]) == (
        404,
        "No consent to 'deeds' waits for this confirmation; it is unknown, used, or more than ten minutes old.",
    )
    with backend.store.read() as database:
        entries, _ = list_entries(database, Wanted(connection_key="deeds"))
    tested, authorized, held = entries[:3]
    assert [entry.action for entry in (tested, authorized, held)] == ["tested", "authorized", "consent_held"]
    assert (authorized.actor, held.actor) == (tested.actor, "oauth callback")


def test_a_consent_is_confirmed_with_the_scope_and_for_its_connection_only(
    archive, another_browser, browser, token_for
):
    archive.create()
    archive.create("other")
    confirmation = archive.come_back(archive.answer(), another_browser).json()["confirmation"]
    path, body = "/api/v1/connection/deeds/authorization/confirm", {"confirmation": confirmation}
    assert another_browser.post(path, json=body).status_code == 401
    headers = {"Authorization": f"Bearer {token_for('connection:read', 'connection:create_or_update')}"}
    assert another_browser.post(path, json=body, headers=headers).status_code == 403
    assert archive.confirm(confirmation, "other").status_code == 404
    assert archive.confirm(confirmation, "nobody").status_code == 404
    assert archive.confirm(confirmation).status_code == 200


@pytest.mark.parametrize("body", [{}, [], {"confirmation": 7}, {"confirmation": ""}, {"confirmation": "x" * 101}])
def test_a_confirmation_that_is_none_is_a_422(archive, body):
    archive.create()
    assert archive("POST", "/connection/deeds/authorization/confirm", json=body).status_code == 422


def test_a_held_consent_expires_and_dies_with_the_secrets(archive, backend, another_browser):
    document = archive.create()
    late, changed = (archive.come_back(archive.answer(), another_browser).json()["confirmation"] for _ in range(2))
    with backend.store.write() as database:
        expired = text("UPDATE authorizations SET expires_at = :then WHERE confirmation_hash = :hash")
        hashed = sha256(late.encode()).hexdigest()
        database.execute(expired, {"then": "2020-01-01 00:00:00.000000+00:00", "hash": hashed})
    assert archive.confirm(late).status_code == 404
    archive.store(document)
    answer = archive.confirm(changed)
    assert (answer.status_code, "were changed after consent was asked for" in answer.text) == (400, True)
    assert archive.authorized() is False


def test_a_browser_shows_a_held_consent_as_a_page(archive, another_browser):
    archive.create()
    another_browser.headers["Accept"] = "text/html,application/xhtml+xml,*/*;q=0.8"
    answer = archive.come_back(archive.answer(), another_browser)
    assert (answer.status_code, answer.headers["content-type"]) == (202, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert policy.endswith(f"; style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'")
    assert "unsafe" not in policy
    assert "<strong>test</strong>" in answer.text
    assert "<strong>deeds</strong>" in answer.text
    [confirmation] = re.findall(r"[A-Za-z0-9_-]{43}", answer.text)
    assert archive.confirm(confirmation).status_code == 200


def test_a_browser_shows_as_a_page_how_it_ended(archive, monkeypatch):
    archive.create()
    monkeypatch.setitem(archive.browser.headers, "Accept", "text/html")
    done = archive.come_back(archive.answer())
    assert (done.status_code, done.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "Authorization completed for ConnectionConfig with key: deeds." in done.text
    refused = archive.browser.get(CALLBACK, params={"state": "unknown", "code": "x"})
    assert (refused.status_code, refused.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "No authentication request found for the given state." in refused.text
    assert "console" not in done.text  # none is installed here


def test_a_page_repeats_no_markup(archive, backend, another_browser):
    """The name of a client is anybody's."""
    with backend.store.write() as database:
        owner, _ = create_client(database, name="<img src=x onerror=alert(1)>", scopes=SCOPES, now=utc_now())
        token, _ = issue_token(database, owner.id, scopes=SCOPES, lifetime=timedelta(hours=1), now=utc_now())
    archive.headers = {"Authorization": f"Bearer {token}"}
    archive.create()
    another_browser.headers["Accept"] = "text/html"
    page = archive.come_back(archive.answer(), another_browser).text
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_the_cookie_comes_back_from_the_provider_and_is_shown_to_no_script(archive):
    archive.create()
    archive.browser.cookies.clear()
    [cookie] = archive.authorize().headers.get_list("set-cookie")
    name, *rest = cookie.split("; ")
    assert re.fullmatch(r"__Host-connectory_consent=[A-Za-z0-9_-]{43}", name)
    assert {part.lower() for part in rest} == {"httponly", "max-age=600", "path=/", "samesite=lax", "secure"}


def test_one_browser_may_be_asked_for_several_consents_at_once(archive):
    archive.create("one")
    archive.create("two")
    queries = [archive.answer(key) for key in ("one", "two")]
    assert [archive.come_back(query).status_code for query in queries] == [200, 200]


def test_what_another_port_of_the_machine_can_set_does_not_do_on_https(archive, another_browser):
    """Whoever asks is given a cookie, and may have it set under the plain name in another person's browser."""
    archive.create()
    archive.browser.cookies.clear()
    query = archive.answer()
    secret = archive.browser.cookies["__Host-connectory_consent"]
    another_browser.cookies.set("connectory_consent", secret)
    assert archive.come_back(query, another_browser).status_code == 202


def test_on_loopback_without_tls_the_browser_is_known_too(archive, browser, another_browser):
    archive.create(redirect_uri="http://127.0.0.1:8000/api/v1/oauth/callback")
    [cookie] = archive.authorize().headers.get_list("set-cookie")
    assert cookie.startswith("connectory_consent=")
    assert "secure" not in cookie.lower()


def test_where_the_operator_says_so_a_consent_counts_in_any_browser(archive, backend):
    archive.create()
    trusting = backend.settings.model_copy(update={"consent_anywhere": True})
    with TestClient(create_app(open_service(trusting, backend.catalog)), base_url=ORIGIN) as another_browser:
        assert archive.come_back(archive.answer(), another_browser).status_code == 200
    assert archive.authorized() is True


def test_looking_at_the_callback_uses_nothing_up(archive, backend):
    """As programs do that show what is behind a link."""
    archive.create()
    query = archive.answer()
    looked = archive.browser.head(CALLBACK, params=query)
    assert (looked.status_code, looked.headers["cache-control"]) == (200, "no-store")
    assert archive.come_back(query).status_code == 200


# Where there is nothing to consent to


def test_other_types_use_no_authorization_code(archive):
    archive("PATCH", "/connection", json=[{"name": "Hands", "connection_type": "manual", "access": "read"}])
    archive.create(mode="no consent")
    for key in ("hands", "deeds"):
        answer = archive.authorize(key)
        assert answer.status_code == 422
        assert answer.json()["detail"] == [
            {
                "loc": ["path", "connection_key"],
                "msg": "The connection config does not use OAuth2 Authorization Code authentication.",
                "type": "authorization_not_used",
            }
        ]
    assert archive.test()["test_status"] == "succeeded"


def test_without_secrets_the_missing_ones_are_named(archive):
    archive("PATCH", "/connection", json=[{"key": "deeds", "connection_type": "archive", "access": "read"}])
    answer = archive.authorize()
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "Missing required secret(s) 'host, port, client_id, client_secret, redirect_uri' for deeds",
    )
    assert archive.test()["failure_code"] == "secrets_missing"


def test_an_unknown_connection_is_a_404_and_a_missing_scope_a_403(archive, browser, token_for):
    assert archive.authorize("nobody").status_code == 404
    archive.create()
    headers = {"Authorization": f"Bearer {token_for('connection:read')}"}
    answer = browser.get("/api/v1/connection/deeds/authorize", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (403, "The token lacks the scope connection:authorize.")


def test_a_connector_that_fails_or_asks_for_nonsense_is_a_409_without_its_words(archive):
    document = archive.create(mode="broken")
    answer = archive.authorize()
    assert answer.status_code == 409
    assert document["client_secret"] not in answer.text
    archive.store(document | {"mode": "consent", "redirect_uri": "http://connectory.example/"})
    answer = archive.authorize()
    assert (answer.status_code, "redirect URI does not begin with https://" in answer.text) == (409, True)


# The state


def test_a_connector_that_does_not_load_any_more_is_a_503_that_says_so(archive, backend, monkeypatch):
    archive.create()

    def gone():
        raise ConnectorLost("It is gone.")

    lost = replace(backend.catalog.get("archive"), plugin=gone)
    monkeypatch.setitem(backend.catalog.connectors, "archive", lost)
    answer = archive.authorize()
    assert (answer.status_code, answer.json()) == (503, {"detail": "It is gone."})


@pytest.mark.parametrize("state", ["", "x", "a" * 43, "a" * 5000, "%00", "é" * 43])
def test_a_forged_state_is_unknown(archive, state):
    query = {"code": "c", "state": state}
    for sent in (query, {"error": "access_denied", "state": state}, {"code": "c"}, {}):
        answer = archive.come_back(sent)
        assert (answer.status_code, answer.json()) == (404, UNKNOWN)


def test_a_state_works_once(archive):
    archive.create()
    query = archive.answer()
    assert archive.come_back(query).status_code == 200
    assert archive.come_back(query).json() == UNKNOWN
    assert archive.test()["test_status"] == "succeeded"


def test_a_state_that_is_given_twice_counts_for_nothing(archive):
    archive.create()
    query = archive.answer()
    twice = [*query.items(), ("state", query["state"])]
    assert archive.browser.get(CALLBACK, params=twice).json() == UNKNOWN
    assert archive.come_back(query).status_code == 200


def test_an_expired_state_is_unknown(archive, backend):
    archive.create()
    query = archive.answer()
    with backend.store.write() as database:
        database.execute(text("UPDATE authorizations SET expires_at = '2020-01-01 00:00:00.000000+00:00'"))
    assert archive.come_back(query).json() == UNKNOWN
    assert archive.authorized() is False


def test_a_state_of_another_connection_brings_its_tokens_there_and_nowhere_else(archive):
    archive.create("one")
    archive.create("two")
    assert archive.come_back(archive.answer("two")).json()["msg"].endswith("key: two.")
    assert (archive.authorized("one"), archive.authorized("two")) == (False, True)


def test_a_state_dies_with_the_secrets_and_with_the_connection(archive):
    document = archive.create()
    changed = archive.answer()
    archive.store(document)
    answer = archive.come_back(changed)
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "The secrets of 'deeds' were changed after consent was asked for; "
        "ask again with GET /api/v1/connection/deeds/authorize."
    )
    assert archive.come_back(changed).json() == UNKNOWN
    deleted = archive.answer()
    archive("DELETE", "/connection/deeds")
    assert archive.come_back(deleted).json() == UNKNOWN


def test_tokens_are_forgotten_when_the_secrets_change(archive):
    document = archive.create()
    archive.come_back(archive.answer())
    archive("PATCH", "/connection", json=[{"key": "deeds", "description": "only described"}])
    assert archive.authorized() is True
    archive.store(document)
    assert archive.authorized() is False
    assert archive.test()["failure_reason"].startswith("Nobody has authorized this connection yet")


def test_what_is_shown_may_be_sent_back(archive):
    archive.create()
    archive.come_back(archive.answer())
    shown = archive("GET", "/connection/deeds").json()
    assert "access_token" not in str(shown)
    del shown["secrets"]
    assert archive("PATCH", "/connection", json=[shown]).json()["failed"] == []
    assert archive.authorized() is True


# The provider


def test_a_person_who_refuses_is_told_so_and_the_state_is_used(archive):
    archive.create()
    query = archive.answer(deny=True)
    answer = archive.come_back(query)
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "The person, or the provider, refused consent; ask again with GET /api/v1/connection/deeds/authorize.",
    )
    assert archive.come_back({"code": "c", "state": query["state"]}).json() == UNKNOWN


def test_a_providers_own_words_are_not_repeated(archive):
    archive.create()
    for words in ({"error": "<b>S3cretPw</b>"}, {"error": "invalid_scope", "error_description": "S3cretPw"}, {}):
        state = parse_qs(urlsplit(archive.authorize().json()).query)["state"][0]
        answer = archive.come_back(words | {"state": state})
        assert answer.status_code == 400
        assert "S3cretPw" not in answer.text


@pytest.mark.parametrize("code", ["forged-code-41", "x" * 5000])
def test_a_code_that_the_provider_did_not_give_is_refused(archive, code):
    archive.create()
    answer = archive.come_back(archive.answer() | {"code": code})
    assert answer.status_code == 400
    assert code not in answer.text
    assert archive.authorized() is False


def test_a_code_of_another_request_is_refused_for_want_of_its_verifier(archive):
    archive.create()
    one, other = archive.answer(), archive.answer()
    assert archive.come_back({"state": one["state"], "code": other["code"]}).status_code == 400
    assert archive.authorized() is False


def test_a_provider_that_cannot_be_reached_is_a_400_with_the_sentence(archive):
    document = archive.create()
    archive.store(document | {"port": 1})
    state = parse_qs(urlsplit(archive.authorize().json()).query)["state"][0]
    answer = archive.come_back({"state": state, "code": "c"})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        (
            "The code could not be exchanged for tokens. "
            "The host refused the connection; check host and port, and that the server is running."
        ),
    )


def test_tokens_that_came_before_the_exchange_failed_are_kept(archive):
    archive.create(mode="fails late")
    answer = archive.come_back(archive.answer())
    assert answer.status_code == 400
    assert "lacks the permission" in answer.json()["detail"]
    assert archive.authorized() is True


# Envelopes


def test_tokens_that_were_moved_or_kept_from_older_secrets_do_not_open(archive, backend):
    document = archive.create()
    archive.come_back(archive.answer())
    old = tokens_of(backend)
    archive.store(document)
    archive.create("other")
    statement = text("UPDATE connection_secrets SET tokens_sealed = :envelope WHERE connection_id = :id")
    for key in ("deeds", "other"):
        with backend.store.write() as database:
            database.execute(statement, {"envelope": old, "id": get_by_key(database, key).id})
        assert archive.test(key)["failure_code"] == "secrets_unreadable"
    with backend.store.read() as database:
        assert load_envelopes(database, get_by_key(database, "deeds").id)[2] == 2


# A caller who leaves


def test_a_test_with_tokens_goes_on_when_its_caller_leaves(provider, plugins, tmp_path):
    """The provider may have replaced the refresh token: were the new one lost, the connection would be too."""
    home, settings = tmp_path / "home", {"PYTHONPATH": str(plugins), "CONNECTORY_PLUGINS_ALLOW": "archive"}
    with running_service(home, settings) as running, httpx.Client(base_url=f"{running.url}/api/v1") as client:
        client.headers["Authorization"] = f"Bearer {run_command(home, 'token', settings=settings).stdout.strip()}"
        redirect = f"{running.url}{CALLBACK}"
        document = {"host": provider.host, "port": provider.port, "redirect_uri": redirect, "mode": "slow"}
        document |= provider.register(redirect)
        item = {"key": "deeds", "connection_type": "archive", "access": "read", "secrets": document}
        client.patch("/connection", json=[item])
        _, query = provider.answer(client.get("/connection/deeds/authorize").json())
        assert client.get("/oauth/callback", params=query).status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            client.get("/connection/deeds/test", timeout=0.5)
        give_up = time.monotonic() + 20
        while (shown := client.get("/connection/deeds").json())["last_test_succeeded"] is None:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert shown["last_test_succeeded"] is True


# What stays secret


def test_nothing_secret_is_in_a_log_an_answer_or_the_database(provider, plugins, tmp_path):
    home = tmp_path / "home"
    settings = {"PYTHONPATH": str(plugins), "CONNECTORY_PLUGINS_ALLOW": "archive", "CONNECTORY_LOG_LEVEL": "debug"}
    answers = []
    with running_service(home, settings) as running, httpx.Client(base_url=running.url) as client:
        token = run_command(home, "token", settings=settings).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}

        def ask(method, path, **options):
            answer = client.request(method, f"/api/v1{path}", headers=headers, timeout=30, **options)
            answers.append(answer.text + str(answer.headers))
            return answer

        redirect = f"{running.url}{CALLBACK}"
        registered = provider.register(redirect)
        document = {"host": provider.host, "port": provider.port, "redirect_uri": redirect} | registered
        item = {"key": "deeds", "connection_type": "archive", "access": "read", "secrets": document}
        assert ask("PATCH", "/connection", json=[item]).json()["failed"] == []
        before = len(provider.seen())
        address = client.get("/api/v1/connection/deeds/authorize", headers=headers).json()
        state = parse_qs(urlsplit(address).query)["state"][0]
        where, query = provider.answer(address)
        assert where == redirect
        assert ask("GET", "/oauth/callback", params=query).status_code == 200
        assert ask("GET", "/connection/deeds/test").json()["test_status"] == "succeeded"
        ask("GET", "/oauth/callback", params=query)
        _, late = provider.answer(client.get("/api/v1/connection/deeds/authorize", headers=headers).json())
        ask("GET", "/oauth/callback", params=late | {"code": query["code"]})
        for path in ("/connection/deeds", "/connection", "/plugins", "/connection_type/archive/secret"):
            ask("GET", path)
        database = b"".join(path.read_bytes() for path in sorted(home.glob("connectory.db*")))
        log = running.log.read_text()
    secrets = {*provider.seen()[before:], registered["client_secret"]}
    assert len(secrets) >= 7  # two codes, two verifiers, tokens before and after the renewal, the client's secret
    assert "oauth/callback" in log
    for secret in secrets | {state, late["state"]}:
        assert secret not in log
        assert secret.encode() not in database
        assert not any(secret in answer for answer in answers)
