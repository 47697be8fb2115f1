"""Stand-ins for the vendors that take keys as user name and password, or in headers of their own."""

import time
from email.utils import formatdate

from servers.saas.vendor import Vendor, only_get, query_is
from servers.saas.web import Answer, Asked, as_json


class Mailchimp(Vendor):
    """Mailchimp: any user name; the key works in its own data centre only."""

    identifier = "mailchimp"
    hosts = ("us1.api.mailchimp.com",)
    secrets = {"domain": "us1.api.mailchimp.com", "username": "anybody", "api_key": "right4711-us1"}
    wrong = {"auth_failed": {"api_key": "unknown-us1"}, "permission_denied": {"api_key": "suspended-us1"}}

    def answer_to(self, asked: Asked) -> Answer:
        refused = only_get(asked, "/3.0/ping")
        if refused is not None:
            return refused
        username, key = asked.basic or ("", "")
        if not username or key not in {self.secrets["api_key"], "suspended-us1"}:
            return self._problem(401, "API Key Invalid")
        if key == "suspended-us1":
            return self._problem(403, "User Disabled")
        return as_json(200, {"health_status": "Everything's Chimpy!"})

    def limit(self) -> Answer:
        return self._problem(429, "Too Many Requests")  # and no header: Mailchimp limits connections, not requests

    def _problem(self, status: int, title: str) -> Answer:
        body = {
            "type": "https://mailchimp.com/developer/marketing/docs/errors/",
            "title": title,
            "status": status,
            "detail": title,
            "instance": "a1b2c3",
        }
        return as_json(status, body, kind="application/problem+json; charset=utf-8")


class Zendesk(Vendor):
    """Zendesk: an agent's e-mail address, followed by /token, and an API token."""

    identifier = "zendesk"
    hosts = ("acme.zendesk.com", "nobody.zendesk.com")
    secrets = {"domain": "acme.zendesk.com", "username": "agent@acme.example/token", "api_key": "right4711"}
    wrong = {
        "auth_failed": {"username": "agent@acme.example"},
        "permission_denied": {"username": "light@acme.example/token"},
    }

    def answer_to(self, asked: Asked) -> Answer:
        username, key = asked.basic or ("", "")
        if not username.endswith("@acme.example/token") or key != self.secrets["api_key"]:
            return as_json(401, {"error": "Couldn't authenticate you"})
        refused = only_get(asked, "/api/v2/users/count.json")
        if refused is not None:
            return refused
        if username.startswith("light@"):
            return as_json(403, {"error": {"title": "Forbidden", "message": "You do not have access to this page."}})
        return as_json(200, {"count": {"value": 3, "refreshed_at": "2026-01-01T00:00:00Z"}})

    def limit(self) -> Answer:
        # As a date, which is the other form that RFC 9110 allows.
        headers = {"Retry-After": formatdate(time.time() + self.wait, usegmt=True)}
        return as_json(429, {"error": "APIRateLimitExceeded"}, headers)


class Datadog(Vendor):
    """Datadog: an API key and an application key, both in headers; 403 for whatever is wrong with them."""

    identifier = "datadog"
    hosts = ("api.datadoghq.com",)
    secrets = {"api_key": "right4711", "app_key": "right0815"}
    wrong = {"auth_failed": {"app_key": "unknown"}}

    def answer_to(self, asked: Asked) -> Answer:
        keys = asked.headers.get("dd-api-key"), asked.headers.get("dd-application-key")
        if keys != (self.secrets["api_key"], self.secrets["app_key"]):
            return as_json(403, {"errors": ["Forbidden"]})
        refused = only_get(asked, "/api/v2/logs/events")
        if refused is not None:
            return refused
        expected = {
            "filter[query]": "service:connectory-connection-test",
            "filter[from]": "now-1s",
            "filter[to]": "now",
            "page[limit]": "1",
        }
        if not query_is(asked, exactly=expected):
            return as_json(400, {"errors": ["Bad Request"]})
        return as_json(200, {"data": [], "meta": {"elapsed": 3, "status": "done"}})

    def limit(self) -> Answer:
        headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Period": "3600", "X-RateLimit-Reset": str(self.wait)}
        return as_json(429, {"errors": ["Too many requests"]}, headers | {"X-RateLimit-Remaining": "0"})


class Segment(Vendor):
    """Segment: the Public API takes one token, the Profile API of a space another, as a user name."""

    identifier = "segment"
    hosts = ("api.segmentapis.com", "profiles.segment.com")
    secrets = {"access_token": "sgp_right4711", "namespace_id": "spa_right", "access_secret": "right0815"}
    wrong = {"auth_failed": {"access_secret": "unknown"}, "permission_denied": {"namespace_id": "spa_closed"}}

    def answer_to(self, asked: Asked) -> Answer:
        if asked.path == "/":
            if asked.bearer != self.secrets["access_token"]:
                return as_json(401, {"errors": [{"type": "unauthenticated", "message": "Invalid token"}]})
            return as_json(200, {"data": {"workspace": {"id": "w1", "slug": "acme", "name": "Acme"}}})
        match asked.segments:
            case ["v1", "spaces", space, "collections", "users", "profiles", profile, "metadata"]:
                return self._profile(asked, space, profile)
        return as_json(404, {"error": {"code": "not_found", "message": "There is no such path."}})

    def _profile(self, asked: Asked, space: str, profile: str) -> Answer:
        if asked.basic != (self.secrets["access_secret"], ""):
            return as_json(
                401, {"error": {"code": "authentication_error", "message": "The supplied credentials are wrong."}}
            )
        if space != self.secrets["namespace_id"]:
            return as_json(403, {"error": {"code": "authorization_error", "message": "Not of this space."}})
        if profile != profile.lower() or ":" not in profile:
            return as_json(400, {"error": {"code": "bad_request", "message": "The id is of the wrong form."}})
        return as_json(404, {"error": {"code": "not_found", "message": "The resource was not found."}})
