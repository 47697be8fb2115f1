"""Stand-ins for the vendors that take a token of their customer's making as `Authorization: Bearer`."""

import time

from servers.saas.vendor import Vendor, only_get
from servers.saas.web import Answer, Asked, as_json


class Stripe(Vendor):
    """Stripe: secret keys and restricted keys; `Stripe-Version` must be one of Stripe's dates."""

    identifier = "stripe"
    hosts = ("api.stripe.com",)
    secrets = {"api_key": "sk_test_right4711"}
    wrong = {"auth_failed": {"api_key": "sk_test_unknown"}, "permission_denied": {"api_key": "rk_test_restricted"}}

    def answer_to(self, asked: Asked) -> Answer:
        if asked.bearer not in {self.secrets["api_key"], "rk_test_restricted"}:
            return self._error(401, "invalid_request_error", "Invalid API Key provided: sk_test_***")
        if asked.headers.get("stripe-version") != "2022-08-01":
            return self._error(400, "invalid_request_error", "Invalid Stripe API version")
        refused = only_get(asked, "/v1/balance")
        if refused is not None:
            return refused
        if asked.bearer == "rk_test_restricted":
            return self._error(403, "invalid_request_error", "The provided key does not have the required permissions.")
        amounts = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
        return as_json(200, {"object": "balance", "available": amounts, "pending": amounts, "livemode": False})

    def limit(self) -> Answer:
        answer = self._error(429, "invalid_request_error", "Request rate limit exceeded.")
        return answer._replace(headers=answer.headers | {"Retry-After": str(self.wait), "Stripe-Should-Retry": "true"})

    def _error(self, status: int, kind: str, message: str) -> Answer:
        return as_json(status, {"error": {"type": kind, "message": message}})


class Sentry(Vendor):
    """Sentry: a user's token lists organizations; an organization's token may not."""

    identifier = "sentry"
    hosts = ("sentry.io",)
    secrets = {"access_token": "sntryu_right4711"}
    wrong = {
        "auth_failed": {"access_token": "sntryu_unknown"},
        "permission_denied": {"access_token": "sntrys_organization"},
    }

    def answer_to(self, asked: Asked) -> Answer:
        if asked.bearer not in {self.secrets["access_token"], "sntrys_organization"}:
            return as_json(401, {"detail": "Invalid token"})
        refused = only_get(asked, "/api/0/organizations/")
        if refused is not None:
            return refused
        if asked.bearer == "sntrys_organization":
            return as_json(403, {"detail": "You do not have permission to perform this action."})
        link = '<https://sentry.io/api/0/organizations/?&cursor=0:100:0>; rel="next"; results="false"; cursor="0:100:0"'
        return as_json(200, [{"id": "1", "slug": "acme", "name": "Acme"}], {"Link": link})

    def limit(self) -> Answer:
        headers = {"X-Sentry-Rate-Limit-Remaining": "0", "X-Sentry-Rate-Limit-Reset": str(int(time.time()) + self.wait)}
        return as_json(429, {"detail": "You are attempting to use this endpoint too frequently."}, headers)


class SendGrid(Vendor):
    """SendGrid: every key may ask for its own scopes."""

    identifier = "sendgrid"
    hosts = ("api.sendgrid.com",)
    secrets = {"api_key": "SG.right4711"}
    wrong = {"auth_failed": {"api_key": "SG.unknown"}, "permission_denied": {"api_key": "SG.blocked"}}

    def answer_to(self, asked: Asked) -> Answer:
        if asked.bearer not in {self.secrets["api_key"], "SG.blocked"}:
            return self._error(401, "The provided authorization grant is invalid, expired, or revoked")
        refused = only_get(asked, "/v3/scopes")
        if refused is not None:
            return refused
        if asked.bearer == "SG.blocked":
            return self._error(403, "access forbidden")
        return as_json(200, {"scopes": ["marketing.read", "marketing.update"]})

    def limit(self) -> Answer:
        answer = self._error(429, "too many requests")
        reset = str(int(time.time()) + self.wait)
        return answer._replace(headers=answer.headers | {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})

    def _error(self, status: int, message: str) -> Answer:
        return as_json(status, {"errors": [{"field": None, "message": message}]})


class HubSpot(Vendor):
    """HubSpot: tokens of private apps."""

    identifier = "hubspot"
    hosts = ("api.hubapi.com",)
    secrets = {"private_app_token": "pat-eu1-right4711"}
    wrong = {
        "auth_failed": {"private_app_token": "pat-eu1-unknown"},
        "permission_denied": {"private_app_token": "pat-eu1-poor"},
    }

    def answer_to(self, asked: Asked) -> Answer:
        if asked.bearer not in {self.secrets["private_app_token"], "pat-eu1-poor"}:
            return self._error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        refused = only_get(asked, "/account-info/v3/details")
        if refused is not None:
            return refused
        if asked.bearer == "pat-eu1-poor":
            return self._error(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes.")
        details = {
            "portalId": 4711,
            "accountType": "STANDARD",
            "timeZone": "Europe/Berlin",
            "uiDomain": "app.hubspot.com",
        }
        return as_json(200, details)

    def limit(self) -> Answer:
        body = {"status": "error", "errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}
        return as_json(429, body, {"Retry-After": str(self.wait), "X-HubSpot-RateLimit-Remaining": "0"})

    def _error(self, status: int, category: str, message: str) -> Answer:
        body = {"status": "error", "message": message, "correlationId": "aeb5f871", "category": category}
        return as_json(status, body)
