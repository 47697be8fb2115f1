"""`/connection/{key}/webhook`, and its calls."""

import asyncio
import hashlib
import hmac
import json
import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from connectory.api.watching import webhook_calls
from connectory.api.watching.webhook_calls import signature
from connectory.api.watching.webhook_runner import WebhookRunner
from connectory.checks.egress import EgressPolicy
from connectory.contract.ssl_mode import SslMode
from connectory.settings import Settings
from connectory.store.timestamps import database_now
from connectory.toolkit.tls import tls_context
from documentation.pages import ROOT, blocks
from testkit.loopback import LoopbackServer

PATH = "/connection/books/webhook"
SECRET = "sixteen letters, or more"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Hook:
    """A far end that answers each call with the next of `answers`, the last again and again."""

    def __init__(self, *answers, tls=None):
        self.calls, self.answers, self.tls = [], list(answers) or [OK], tls
        self.server = LoopbackServer(self.handle, name="hook", addresses=("127.0.0.1",))

    def handle(self, peer):
        if self.tls is not None:
            peer.start_tls(self.tls)
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.read(1)
        body = peer.read(int(re.search(rb"Content-Length: (\d+)", head)[1]))
        self.calls.append((head.decode(), body.decode()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer(peer)
        else:
            peer.send(answer)

    @property
    def url(self):
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.server.port}/hook?for=books"


@pytest.fixture(autouse=True)
def only_ours(monkeypatch):
    """Keep the running application from calling what these tests call."""
    claimed = WebhookRunner._claimed
    ours = lambda runner, most: claimed(runner, most) if runner._clock is not database_now else []  # noqa: E731
    monkeypatch.setattr(WebhookRunner, "_claimed", ours)


@pytest.fixture
def hook():
    """Start far ends, and stop them."""

    @contextmanager
    def started(*answers, **options):
        one = Hook(*answers, **options)
        with one.server:
            yield one

    return started


@pytest.fixture
def deliver(anonymous, service):
    """Call, as a node does, what is due in so many minutes; says how many calls were begun."""

    def deliver(minutes=0):
        async def work():
            now = datetime.now(UTC) + timedelta(minutes=minutes, seconds=1)
            runner = WebhookRunner(service, clock=lambda _: now)
            begun = await runner.work.round()
            await runner.work.idle()
            return begun

        return anonymous.portal.call(work)

    return deliver


@pytest.fixture
def told(api):
    """A connection whose webhook is at `url`."""

    def told(url):
        api.create("books", secrets={"token": "t"})
        answer = api.put(PATH, json={"url": url, "secret": SECRET})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return told


@pytest.fixture
def verdict(api, monkeypatch, service):
    """Test the connection, whose far end says yes or no, with secrets that stay the same."""
    run = service.runner.run

    def verdict(*, passes):
        async def saying(joins, connector, _open, *rest):
            document = {"token": "t" if passes else "wrong"}
            return await run(joins, connector, lambda: document, *rest)

        with monkeypatch.context() as patched:
            patched.setattr(service.runner, "run", saying)
            answer = api.get("/connection/books/test").json()
        assert answer["test_status"] == ("succeeded" if passes else "failed")

    return verdict


def test_a_change_is_told_once_and_signed(api, hook, told, deliver, verdict):
    with hook() as far_end:
        shown = told(far_end.url)
        assert shown == {
            "url": far_end.url,
            "has_secret": True,
            "updated_at": shown["updated_at"],
            "pending": 0,
            "last_delivery": None,
        }
        for passes in (True, True):
            verdict(passes=passes)
        assert (deliver(), far_end.calls) == (0, [])
        verdict(passes=False)
        verdict(passes=False)
        assert api.get(PATH).json()["pending"] == 1
        assert (deliver(), deliver()) == (1, 0)

    [(head, body)] = far_end.calls
    event = json.loads(body)
    [shown] = [text for language, text in blocks(ROOT / "docs/rest.md") if language == "json" and '"id": "e_' in text]
    assert [*event] == [*json.loads(shown)]
    assert re.fullmatch("e_[0-9a-f]{32}", event.pop("id"))
    assert datetime.now(UTC) - datetime.fromisoformat(event.pop("at")) < timedelta(minutes=5)
    assert event == {
        "connection_key": "books",
        "kind": "test",
        "dataset": None,
        "before": "succeeded",
        "after": "failed",
        "failure_code": "auth_failed",
        "link": "/api/v1/connection/books/history",
    }
    assert head.startswith("POST /hook?for=books HTTP/1.1\r\n")
    assert "Content-Type: application/json\r\n" in head
    at, mac = re.search(r"Connectory-Signature: t=(\d+),v1=([0-9a-f]{64})\r\n", head).groups()
    assert hmac.new(SECRET.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest() == mac
    assert SECRET not in head + body
    found = api.get(PATH).json()
    last = found["last_delivery"]
    assert (last["state"], last["status"], last["attempts"], last["failure_code"]) == ("delivered", 204, 1, None)
    assert (found["pending"], last["event_id"]) == (0, json.loads(body)["id"])


def test_what_the_page_says_of_signatures_is_so():
    [code] = [text for language, text in blocks(ROOT / "docs/rest.md") if language == "python"]
    names = {}
    exec(code, names)
    now = int(time.time())
    verify = names["is_from_connectory"]
    header = signature(SECRET.encode(), '{"a":"é"}', now)
    body = '{"a":"é"}'.encode()
    assert verify(SECRET, header, body)
    assert not verify(SECRET, header, body + b" ")
    assert not verify("another secret, as long", header, body)
    assert not verify(SECRET, header.replace(f"t={now}", f"t={now + 1}"), body)
    assert not verify(SECRET, signature(SECRET.encode(), '{"a":"é"}', now - 301), body)


def test_other_secrets_begin_anew(api, hook, told, deliver):
    with hook() as far_end:
        told(far_end.url)
        api.get("/connection/books/test")
        api.put("/connection/books/secret", json={"token": "wrong"})
        assert (deliver(), far_end.calls) == (0, [])


def test_a_dataset_that_drifts_is_told(api, hook, told, deliver):
    def save(*names):
        collections = [{"name": name, "fields": [{"name": "email"}]} for name in names]
        assert api.patch("/connection/books/dataset", json=[{"fides_key": "shelf", "collections": collections}])
        api("POST", "/connection/books/dataset/shelf/check")

    with hook() as far_end:
        told(far_end.url)
        save("2025", "2026")
        save("2025")
        assert deliver() == 1
        save("2025", "2026")
        assert deliver() == 1
    events = [json.loads(body) for _, body in far_end.calls]
    assert [(event["kind"], event["dataset"], event["before"], event["after"]) for event in events] == [
        ("check", "shelf", "fits", "drifted"),
        ("check", "shelf", "drifted", "fits"),
    ]


@pytest.fixture
def pending(told, verdict):
    """A connection whose webhook at `url` has one event to be told."""

    def pending(url):
        told(url)
        verdict(passes=True)
        verdict(passes=False)

    return pending


def test_a_call_that_failed_is_repeated_with_the_same_event(api, hook, pending, deliver):
    with hook(b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nno.", OK) as far_end:
        pending(far_end.url)
        assert deliver() == 1
        last = api.get(PATH).json()["last_delivery"]
        assert (last["state"], last["status"], last["failure_code"]) == ("retrying", 500, None)
        assert deliver(0.4) == 0
        assert deliver(0.6) == 1
        first, second = far_end.calls
        assert first[1] == second[1]
        found = api.get(PATH).json()
    assert (found["last_delivery"]["state"], found["last_delivery"]["attempts"], found["pending"]) == (
        "delivered",
        2,
        0,
    )


def test_after_five_calls_in_an_hour_an_event_is_given_up(api, hook, pending, deliver):
    with hook(b"HTTP/1.1 503 No\r\n\r\n") as far_end:
        pending(far_end.url)
        assert [deliver(60 * number) for number in range(7)] == [1, 1, 1, 1, 1, 0, 0]
        assert len(far_end.calls) == 5
    found = api.get(PATH).json()
    last = found["last_delivery"]
    assert (last["state"], last["status"], last["attempts"], found["pending"]) == ("given_up", 503, 5, 0)
    metrics = api.client.get("/metrics", headers=api.headers).text
    assert 'connectory_webhook_deliveries_total{result="given_up"}' in metrics
    assert "connectory_webhook_pending 0.0" in metrics


def test_a_redirect_is_not_followed(api, hook, pending, deliver):
    with hook() as elsewhere:
        with hook(f"HTTP/1.1 307 Go\r\nLocation: {elsewhere.url}\r\n\r\n".encode()) as far_end:
            pending(far_end.url)
            assert deliver() == 1
        assert elsewhere.calls == []
    last = api.get(PATH).json()["last_delivery"]
    assert (last["state"], last["status"]) == ("retrying", 307)


def _drip(peer):
    peer.send(b"HTTP/1.1 200 Yes\r\nX-More: ")
    while True:
        peer.send(b"x")
        peer.pause(0.02)


def _flood(peer):
    peer.send(b"HTTP/1.1 200 Yes\r\n")
    while True:
        peer.send(b"X-More: of the same\r\n" * 1000)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda peer: peer.drain(), "timeout"),
        (_drip, "timeout"),
        (_flood, "protocol_mismatch"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol_mismatch"),
        (b"", "protocol_mismatch"),
    ],
    ids=["hangs", "drips", "floods", "other-protocol", "hangs-up"],
)
def test_a_far_end_that_gives_no_answer(api, hook, pending, deliver, monkeypatch, answer, code):
    monkeypatch.setattr(webhook_calls, "DEADLINE", 0.3)
    with hook(answer) as far_end:
        pending(far_end.url)
        assert deliver() == 1
    last = api.get(PATH).json()["last_delivery"]
    assert (last["state"], last["status"], last["failure_code"]) == ("retrying", None, code)


def test_nobody_listens(api, hook, pending, deliver):
    with hook() as far_end:
        pending(far_end.url)
    assert deliver() == 1
    assert api.get(PATH).json()["last_delivery"]["failure_code"] == "connect_refused"


def test_what_the_policy_forbids_meanwhile_is_not_called(api, hook, pending, deliver, monkeypatch):
    with hook() as far_end:
        pending(far_end.url)
        monkeypatch.setattr(Settings, "egress_policy", property(lambda _: EgressPolicy()))
        assert deliver() == 1
        assert far_end.server.connections == 0
    assert api.get(PATH).json()["last_delivery"]["failure_code"] == "address_not_allowed"


def test_certificates_are_verified(api, hook, pending, deliver, monkeypatch, certificates):
    context = certificates.server.server_context()
    with hook(tls=context) as far_end:
        pending(far_end.url)
        assert deliver() == 1
        assert far_end.calls == []
        assert api.get(PATH).json()["last_delivery"]["failure_code"] == "tls_untrusted"
        monkeypatch.setattr(webhook_calls, "_tls", lambda: tls_context(SslMode.VERIFY_FULL, certificates.ca_pem))
        assert deliver(1) == 1
        assert len(far_end.calls) == 1


def test_of_two_nodes_one_calls(anonymous, service, hook, pending):
    async def both():
        runners = [WebhookRunner(service, clock=lambda _: datetime.now(UTC) + timedelta(seconds=1)) for _ in range(2)]
        begun = await asyncio.gather(*(runner.work.round() for runner in runners))
        await asyncio.gather(*(runner.work.idle() for runner in runners))
        return sum(begun)

    with hook() as far_end:
        pending(far_end.url)
        assert anonymous.portal.call(both) == 1
        assert anonymous.portal.call(both) == 0
    assert len(far_end.calls) == 1


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("ftp://hooks.example.com/", "url_invalid"),
        ("https://me:pass@hooks.example.com/", "url_invalid"),
        ("https://hooks.example.com/#there", "url_invalid"),
        ("https://hooks.example.com:99999/", "url_invalid"),
        ("https://hooks.example.com/a\r\nX: y", "url_invalid"),
        ("https://0x7f.1/", "url_invalid"),
        ("https:///", "url_invalid"),
        ("http://192.0.2.7/", "address_not_allowed"),
        ("https://169.254.169.254/latest", "address_not_allowed"),
        ("https://[fe80::1]/", "address_not_allowed"),
    ],
)
def test_addresses_that_are_refused(api, url, kind):
    api.create("books")
    answer = api.put(PATH, json={"url": url, "secret": SECRET})
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert (problem["loc"], problem["type"]) == (["body", "url"], kind)
    assert url not in answer.text
    assert api.get(PATH).status_code == 404


def test_loopback_is_refused_where_the_policy_has_none(api, monkeypatch):
    api.create("books")
    monkeypatch.setattr(Settings, "egress_policy", property(lambda _: EgressPolicy()))
    for url in ("http://127.0.0.1:8080/", "http://localhost/", "https://[::1]/"):
        answer = api.put(PATH, json={"url": url, "secret": SECRET})
        assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "address_not_allowed")


@pytest.mark.parametrize("secret", ["fifteen letters", "", None, 7, "x" * 501])
def test_secrets_that_are_refused(api, secret):
    api.create("books")
    answer = api.put(PATH, json={"url": "http://127.0.0.1:9/", "secret": secret})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "secret"])


def test_a_webhook_ends_and_the_audit_trail_tells_of_it(api, anonymous, told, token_for):
    told("http://127.0.0.1:9/")
    reader = {"Authorization": f"Bearer {token_for('connection:read')}"}
    for method in ("PUT", "DELETE"):
        assert anonymous.request(method, f"/api/v1{PATH}", headers=reader, json={}).status_code == 403
    answer = anonymous.get(f"/api/v1{PATH}", headers=reader)
    assert (answer.status_code, SECRET in answer.text) == (200, False)
    assert api.delete(PATH).status_code == 204
    assert api.get(PATH).json() == {"detail": "The connection 'books' has no webhook."}
    assert api.delete(PATH).status_code == 404
    assert api.get("/connection/none/webhook").status_code == 404
    assert api.put("/connection/none/webhook", json={}).status_code == 404
    ended, put = api.get("/audit?action=webhook*&size=2").json()["items"]
    assert (ended["action"], ended["connection_key"]) == ("webhook_deleted", "books")
    assert (put["action"], put["changed_fields"]) == ("webhook_set", ["secret", "url"])
    assert SECRET not in json.dumps([ended, put])
