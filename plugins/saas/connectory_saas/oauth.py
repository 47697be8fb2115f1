"""OAuth 2.0 tokens for a connection: obtained, kept through the service, renewed before they expire. The grants are Authlib's."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
from authlib.oauth2.base import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.client import OAuth2Client  # type: ignore[import-untyped]

from connectory import CheckContext, CheckFailed, FailureCode
from connectory.toolkit import HttpClient
from connectory_saas.answers import raise_for_class, read_json
from connectory_saas.auth import Values
from connectory_saas.definition import AuthorizationCode, ClientCredentials, RateLimit
from connectory_saas.settings import SaasSettings
from connectory_saas.templates import fill, fill_url

RENEW_BEFORE = 600
"""Seconds before its end at which a token is renewed: more than any request takes, less than any vendor's token lives."""

_TOKEN = re.compile(r"[!-~]{1,16384}")
_CONSENT_GONE = (
    "The consent to this connection has ended; a person consents again at the address that "
    "GET /api/v1/connection/{key}/authorize answers."
)
_CODE_REFUSED = (
    "The service did not take the authorization code; it may be too old, or redirect_uri is not the registered one."
)
_CLIENT_REFUSED = "The service rejected the client; check client_id and client_secret."
_SCOPE_REFUSED = "The client may not have the scopes that are needed; grant them to it in the service."

# RFC 6749 §5.2, and `access_denied`, which Auth0 answers for a wrong secret.
_BY_ERROR = {
    "invalid_client": (FailureCode.AUTH_FAILED, _CLIENT_REFUSED),
    "invalid_client_id": (FailureCode.AUTH_FAILED, _CLIENT_REFUSED),
    "access_denied": (FailureCode.AUTH_FAILED, _CLIENT_REFUSED),
    "unauthorized_client": (
        FailureCode.PERMISSION_DENIED,
        "The client may not use this grant; allow it in the service.",
    ),
    "invalid_scope": (FailureCode.PERMISSION_DENIED, _SCOPE_REFUSED),
}
"""What the standard error codes mean; `invalid_grant` depends on what was granted."""


class Tokens:
    """The tokens of one connection, in one test.

    Args:
        auth: the definition's strategy.
        rate_limit: the definition's hint.
        values: the secrets.
        client, context: of the test.
    """

    def __init__(
        self,
        auth: ClientCredentials | AuthorizationCode,
        rate_limit: RateLimit | None,
        values: Values,
        client: HttpClient,
        context: CheckContext,
    ) -> None:
        self._auth = auth
        self._rate_limit = rate_limit
        self._values = values
        self._client = client
        self._context = context

    def current(self) -> str:
        """The access token to use: the stored one while it lasts, else a new one, which is stored.

        Raises:
            CheckFailed: there is none; the code says why.
        """
        stored = self._context.tokens or {}
        expires_at = stored.get("expires_at")
        if isinstance(expires_at, int | float) and expires_at - time.time() > RENEW_BEFORE:
            return _checked(stored.get("access_token"))
        return self.renewed()

    def renewed(self) -> str:
        """A new access token, which is stored.

        Raises:
            CheckFailed: there is none; the code says why.
        """
        if isinstance(self._auth, ClientCredentials):
            return self._obtain(self._auth.token_url, {"grant_type": "client_credentials"})
        refresh_token = (self._context.tokens or {}).get("refresh_token")
        if refresh_token is None:
            raise CheckFailed(FailureCode.AUTH_FAILED, step="authenticate", remedy=_CONSENT_GONE)
        url = self._auth.refresh_url or self._auth.token_url
        return self._obtain(url, {"grant_type": "refresh_token", "refresh_token": str(refresh_token)})

    def exchange(self, code: str, code_verifier: str | None) -> None:
        """Exchange an authorization code for tokens, and store them.

        Raises:
            CheckFailed: there are none; the code says why.
        """
        redirect_uri = fill(self._auth.redirect_uri, self._values) if isinstance(self._auth, AuthorizationCode) else ""
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        self._obtain(self._auth.token_url, grant | ({"code_verifier": code_verifier} if code_verifier else {}))

    def _obtain(self, url: str, grant: dict[str, str]) -> str:
        auth, values = self._auth, self._values
        located = self._context.settings(SaasSettings).locate(fill_url(url, values))
        self._client.connect(located)
        oauth = OAuth2Client(
            _Session(self._client, self._rate_limit),
            client_id=fill(auth.client_id, values),
            client_secret=fill(auth.client_secret, values),
            token_endpoint_auth_method=auth.client_auth,
        )
        parameters = {name: fill(text, values) for name, text in auth.parameters.items()}
        if auth.scope is not None and grant["grant_type"] == "client_credentials":
            parameters["scope"] = fill(auth.scope, values)  # consent has its scopes already (RFC 6749 §4.1.3, §6)
        with self._context.step("authenticate"):
            try:
                answer = oauth.fetch_token(located, **grant, **parameters)
            except OAuth2Error as error:
                raise _refusal(error, grant["grant_type"]) from error
            except (TypeError, ValueError, OverflowError) as error:  # members of the wrong types
                raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error
            token = _checked(answer.get("access_token"))
        self._context.store_tokens(_to_store(answer, grant.get("refresh_token"), auth.lifetime))
        return token


def _refusal(error: OAuth2Error, grant_type: str) -> CheckFailed:
    if error.error == "invalid_grant":
        remedy = _CODE_REFUSED if grant_type == "authorization_code" else _CONSENT_GONE
        return CheckFailed(FailureCode.AUTH_FAILED, remedy=remedy)
    code, standard = _BY_ERROR.get(error.error, (FailureCode.HTTP_4XX, None))
    return CheckFailed(code, remedy=standard)


def _checked(token: Any) -> str:
    """A token as it may stand in a header: whoever answered chose it."""
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
    return token


def _to_store(answer: dict[str, Any], refresh_token: str | None, lifetime: int) -> dict[str, Any]:
    try:
        seconds = float(answer.get("expires_in") or lifetime)
    except (TypeError, ValueError):
        seconds = float(lifetime)
    tokens = {"access_token": answer["access_token"], "expires_at": time.time() + seconds}
    newer = answer.get("refresh_token") or refresh_token  # a vendor that rotates them gives a new one
    return tokens | ({"refresh_token": newer} if isinstance(newer, str) else {})


class _Session:
    """What Authlib's client sends its requests through."""

    def __init__(self, client: HttpClient, rate_limit: RateLimit | None) -> None:
        self._client = client
        self._rate_limit = rate_limit

    def post(self, url: str, *, data: dict[str, str], headers: dict[str, str], auth: Any) -> httpx.Response:
        """Send a token request, and return its answer where that is for Authlib to read: tokens, or an OAuth error."""
        form = str(httpx.QueryParams(data))
        url, headers, form = auth.prepare("POST", url, dict(headers), form)
        answer = self._client.request("POST", url, headers=headers, content=form.encode())
        content = read_json(answer)
        is_error = isinstance(content, dict) and isinstance(content.get("error"), str)
        if not (is_error and answer.status_code in {400, 401, 403}):
            raise_for_class(answer, self._rate_limit)
        if not isinstance(content, dict):
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
        return answer
