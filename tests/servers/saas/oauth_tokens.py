"""Stand-ins for the vendors whose tokens come from a token endpoint (RFC 6749)."""

import base64
import hashlib
import html
import itertools
import time
from typing import Any, ClassVar
from urllib.parse import urlencode

from connectory.testing.certificates import ServerCertificate
from servers.saas.vendor import Vendor, only_get, query_is
from servers.saas.web import Answer, Asked, as_json


class TokenVendor(Vendor):
    """Issues tokens, counts them, and knows which are still good.

    Attributes:
        token_path: of the token endpoint.
        lifetime: what `expires_in` says; `None` leaves it out.
        good: the access tokens that are accepted.
        refresh_tokens: those that are accepted, each once: a refresh replaces it.
    """

    token_path: str
    lifetime: Any = 3600

    def __init__(self, *, certificate: ServerCertificate | None = None) -> None:
        self.good: set[str] = set()
        self.refresh_tokens: set[str] = set()
        self._numbers = itertools.count(1)
        super().__init__(certificate=certificate)

    def issue(self, *, refreshable: bool = False) -> dict[str, Any]:
        """New tokens, as the token endpoint answers them."""
        number = next(self._numbers)
        answer: dict[str, Any] = {"access_token": f"access-{self.identifier}-{number}", "token_type": "Bearer"}
        self.good.add(answer["access_token"])
        if refreshable:
            answer["refresh_token"] = f"refresh-{self.identifier}-{number}"
            self.refresh_tokens.add(answer["refresh_token"])
        return answer | ({"expires_in": self.lifetime} if self.lifetime is not None else {})

    def stored(self, *, lasts: float = 3600, refreshable: bool = True) -> dict[str, Any]:
        """New tokens as the service keeps them."""
        issued = self.issue(refreshable=refreshable)
        return {name: issued[name] for name in ("access_token", "refresh_token") if name in issued} | {
            "expires_at": time.time() + lasts
        }

    def answer_to(self, asked: Asked) -> Answer:
        if asked.path == self.token_path:
            return self.token(asked) if asked.method == "POST" else as_json(405, {"error": "invalid_request"})
        return self.resource(asked)

    def token(self, asked: Asked) -> Answer:
        """What the token endpoint answers."""
        raise NotImplementedError

    def resource(self, asked: Asked) -> Answer:
        """What the API answers."""
        raise NotImplementedError

    def token_requests(self) -> list[dict[str, str]]:
        """The forms that the token endpoint got."""
        return [asked.form for asked in self.asked if asked.path == self.token_path]

    def _client_is(self, form: dict[str, str]) -> bool:
        return (form.get("client_id"), form.get("client_secret")) == (
            self.secrets["client_id"],
            self.secrets["client_secret"],
        )


class Auth0(TokenVendor):
    """Auth0: a machine-to-machine application with a token for the Management API of its tenant."""

    identifier = "auth0"
    hosts = ("acme.eu.auth0.com",)
    secrets = {"domain": "acme.eu.auth0.com", "client_id": "m2m-right", "client_secret": "right4711"}
    wrong = {"auth_failed": {"client_secret": "unknown"}, "permission_denied": {"client_id": "m2m-poor"}}
    token_path = "/oauth/token"
    lifetime = 86400
    audience = "https://acme.eu.auth0.com/api/v2/"

    def token(self, asked: Asked) -> Answer:
        form = asked.form
        if form.get("grant_type") != "client_credentials":
            return as_json(403, {"error": "unauthorized_client", "error_description": "Grant type not allowed."})
        if form.get("client_id") not in {"m2m-right", "m2m-poor"} or form.get("client_secret") != "right4711":
            return as_json(401, {"error": "access_denied", "error_description": "Unauthorized"})
        if form.get("audience") != self.audience:
            return as_json(403, {"error": "access_denied", "error_description": "Service not found."})
        issued = self.issue()
        if form["client_id"] == "m2m-poor":
            self.good.discard(issued["access_token"])
            issued["access_token"] += "-poor"
        return as_json(200, issued)

    def resource(self, asked: Asked) -> Answer:
        if asked.bearer is not None and asked.bearer.endswith("-poor"):
            return as_json(
                403, {"statusCode": 403, "error": "Forbidden", "message": "Insufficient scope, expected read:users"}
            )
        if asked.bearer not in self.good:
            return as_json(401, {"statusCode": 401, "error": "Unauthorized", "message": "Invalid token"})
        refused = only_get(asked, "/api/v2/users-by-email")
        if refused is not None:
            return refused
        if not query_is(asked, email="nobody@example.com", fields="user_id"):
            return as_json(400, {"statusCode": 400, "error": "Bad Request", "message": "Query validation error"})
        return as_json(200, [])

    def limit(self) -> Answer:
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + self.wait)}
        return as_json(
            429, {"statusCode": 429, "error": "Too Many Requests", "errorCode": "too_many_requests"}, headers
        )


class AdobeCampaign(TokenVendor):
    """Adobe: an OAuth server-to-server credential at its login host, and Campaign Standard's API behind Adobe's gateway."""

    identifier = "adobe_campaign"
    hosts = ("mc.adobe.io", "ims-na1.adobelogin.com")
    secrets = {
        "organization": "acme",
        "organization_id": "4711@AdobeOrg",
        "client_id": "key4711",
        "client_secret": "right4711",
        "regulation": "GDPR",
    }
    wrong = {
        "auth_failed": {"client_secret": "unknown"},
        "permission_denied": {"organization_id": "0815@AdobeOrg"},
        "http_5xx": {"organization": "nowhere"},
    }
    token_path = "/ims/token/v3"
    lifetime = 86399

    def token(self, asked: Asked) -> Answer:
        form = asked.form
        if form.get("grant_type") != "client_credentials":
            return as_json(400, {"error": "unsupported_grant_type"})
        if not self._client_is(form):
            return as_json(401, {"error": "invalid_client", "error_description": "invalid client_secret parameter"})
        if not {"openid", "AdobeID", "campaign_sdk"} <= set(form.get("scope", "").split(",")):
            return as_json(400, {"error": "invalid_scope"})
        return as_json(200, self.issue())

    def resource(self, asked: Asked) -> Answer:
        if asked.headers.get("x-api-key") != self.secrets["client_id"]:
            return as_json(403, {"error_code": "403000", "message": "Api Key is required"})
        if asked.bearer not in self.good:
            return as_json(401, {"error_code": "401013", "message": "Oauth token is not valid"})
        if asked.headers.get("x-gw-ims-org-id") != self.secrets["organization_id"]:
            return as_json(403, {"error_code": "403023", "message": "Profile is not valid"})
        if asked.segments[0] != self.secrets["organization"]:
            return as_json(500, {"error_code": "500", "message": "Oops. Something went wrong."})
        refused = only_get(asked, "/acme/campaign/profileAndServices/profile/PKey")
        if refused is not None:
            return refused
        if not query_is(asked, _lineCount="1"):
            return as_json(400, {"error_code": "400", "message": "Bad Request"})
        following = "https://mc.adobe.io/acme/campaign/profileAndServices/profile/PKey?_lineCount=1&_lineStart=@k"
        return as_json(200, {"content": ["@right"], "next": {"href": following}})


class ConsentVendor(TokenVendor):
    """A vendor where a person consents: codes, code verifiers and refresh tokens.

    Attributes:
        authorize_path: of the page on which a person decides.
        codes: the codes that are accepted, with the challenge that each was asked for with, if any.
        poor: whether whoever consented may not use the API.
    """

    identifier = "consent"
    authorize_path: ClassVar[str]
    wrong: ClassVar[dict[str, dict[str, str]]] = {}

    def __init__(self, *, certificate: ServerCertificate | None = None) -> None:
        self.codes: dict[str, str | None] = {}
        self.poor = False
        super().__init__(certificate=certificate)

    def consent(self, challenge: str | None = None) -> str:
        """A code, as the vendor gives the browser of a person who consents."""
        code = f"code-{self.identifier}-{next(self._numbers)}"
        self.codes[code] = challenge
        return code

    def answer_to(self, asked: Asked) -> Answer:
        return self.authorize(asked) if asked.path == self.authorize_path else super().answer_to(asked)

    def authorize(self, asked: Asked) -> Answer:
        """A page with two links back to the client: to allow, and to deny."""
        query = {name: values[0] for name, values in asked.query.items()}
        own = {name: self.secrets[name] for name in ("client_id", "redirect_uri")} | {"response_type": "code"}
        if own.items() - query.items():
            return as_json(400, {"error": "invalid_request"})
        state = query.get("state", "")
        answers = {
            "Allow": {"code": self.consent(query.get("code_challenge")), "state": state},
            "Deny": {"error": "access_denied", "state": state},
        }
        links = "".join(
            f'<p><a href="{html.escape(own["redirect_uri"] + "?" + urlencode(answer))}">{name}</a></p>'
            for name, answer in answers.items()
        )
        page = f'<!DOCTYPE html><html lang="en"><title>Allow access?</title><h1>Allow access?</h1>{links}</html>'
        return Answer(200, {"Content-Type": "text/html; charset=utf-8"}, page.encode())

    def token(self, asked: Asked) -> Answer:
        form = asked.form
        if not self._client_is(form):
            return as_json(401, {"error": "invalid_client"})
        match form.get("grant_type"):
            case "authorization_code":
                return self._for_code(form)
            case "refresh_token":
                if form.get("refresh_token") not in self.refresh_tokens:
                    return as_json(400, {"error": "invalid_grant", "error_description": "expired access/refresh token"})
                self.refresh_tokens.remove(form["refresh_token"])
                return as_json(200, self.issue(refreshable=True))
        return as_json(400, {"error": "unsupported_grant_type"})

    def _for_code(self, form: dict[str, str]) -> Answer:
        code = form.get("code", "")
        if code not in self.codes or form.get("redirect_uri") != self.secrets["redirect_uri"]:
            return as_json(400, {"error": "invalid_grant"})
        challenge = self.codes.pop(code)
        if challenge is not None and challenge != _s256(form.get("code_verifier", "")):
            return as_json(400, {"error": "invalid_grant", "error_description": "invalid code verifier"})
        return as_json(200, self.issue(refreshable=True))


def _s256(verifier: str) -> str:
    """The challenge of a verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


class Outreach(ConsentVendor):
    """Outreach: JSON:API, no route without a valid token."""

    identifier = "outreach"
    hosts = ("api.outreach.io",)
    secrets = {
        "requester_email": "dpo@acme.example",
        "client_id": "right",
        "client_secret": "right4711",
        "redirect_uri": "https://connectory.acme.example/api/v1/oauth/callback",
        "page_size": "50",
    }
    token_path = "/oauth/token"
    authorize_path = "/oauth/authorize"
    lifetime = 7200

    def resource(self, asked: Asked) -> Answer:
        kind = "application/vnd.api+json"
        if asked.bearer not in self.good:
            return as_json(401, {"errors": [{"id": "unauthorized", "title": "Unauthorized"}]}, kind=kind)
        refused = only_get(asked, "/api/v2/roles")
        if refused is not None:
            return refused
        if self.poor:
            return as_json(403, {"errors": [{"id": "unauthorizedOauthScope"}]}, kind=kind)
        if not query_is(asked, exactly={"page[size]": "50"}):
            return as_json(400, {"errors": [{"id": "validationError"}]}, kind=kind)
        return as_json(200, {"data": [{"type": "role", "id": 1, "attributes": {"name": "Admin"}}]}, kind=kind)

    def limit(self) -> Answer:
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + self.wait)}
        return as_json(429, {"errors": [{"id": "rateLimited"}]}, headers)


class Salesforce(ConsentVendor):
    """Salesforce: the organization's own host, and a login host that renews tokens; errors are lists, and tokens have no end."""

    identifier = "salesforce"
    hosts = ("acme.my.salesforce.com", "login.salesforce.com")
    secrets = {
        "domain": "acme.my.salesforce.com",
        "client_id": "right",
        "client_secret": "right4711",
        "redirect_uri": "https://connectory.acme.example/api/v1/oauth/callback",
    }
    token_path = "/services/oauth2/token"
    authorize_path = "/services/oauth2/authorize"
    lifetime = None

    def __init__(self, *, certificate: ServerCertificate | None = None) -> None:
        self.used_up = False
        super().__init__(certificate=certificate)

    def resource(self, asked: Asked) -> Answer:
        if asked.bearer not in self.good:
            return as_json(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        refused = only_get(asked, "/services/data/v54.0/limits")
        if refused is not None:
            return refused
        if self.poor:
            return as_json(403, [{"message": "The REST API is not enabled.", "errorCode": "API_DISABLED_FOR_ORG"}])
        if self.used_up:
            return as_json(403, [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}])
        limits = {"DailyApiRequests": {"Max": 15000, "Remaining": 14998}}
        return as_json(200, limits, {"Sforce-Limit-Info": "api-usage=18/5000"})
