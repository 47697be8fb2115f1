"""A connector for "Archive", a service that needs a person's consent. The tests install it as a distribution."""

import base64
import json
import time
from http.client import HTTPConnection
from typing import Annotated
from urllib.parse import urlencode

from connectory import (
    CheckContext,
    CheckFailed,
    Description,
    FailureCode,
    Host,
    Name,
    Port,
    Secrets,
    SecretText,
    Text,
    hookimpl,
)
from connectory.consent import Authorization


class ArchiveSecrets(Secrets):
    host: Host
    port: Port
    client_id: Name
    client_secret: SecretText
    redirect_uri: Annotated[str, Text("an address", max_length=300, pattern=r"[!-~]+")]
    mode: Name = "consent"


@hookimpl
def connectory_identifier() -> str:
    return "archive"


@hookimpl
def connectory_type() -> str:
    return "saas"


@hookimpl
def connectory_describe() -> Description:
    return Description(authorization_required=True)


@hookimpl
def connectory_secret_schema() -> type[Secrets]:
    return ArchiveSecrets


@hookimpl
def connectory_authorization(secrets: ArchiveSecrets) -> Authorization | None:
    if secrets.mode == "no consent":
        return None
    if secrets.mode == "broken":
        raise RuntimeError(secrets.client_secret.get_secret_value())
    return Authorization(
        authorize_url=f"http://{secrets.host}:{secrets.port}/oauth2/authorize",
        token_url=f"http://{secrets.host}:{secrets.port}/oauth2/token",
        client_id=secrets.client_id,
        redirect_uri=secrets.redirect_uri,
        scopes=("openid", "email"),
        pkce=True,
        extra_parameters={"access_type": "offline"},
    )


@hookimpl
def connectory_exchange_code(
    secrets: ArchiveSecrets, code: str, code_verifier: str | None, context: CheckContext
) -> None:
    grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": secrets.redirect_uri}
    context.store_tokens(_tokens(secrets, context, grant | {"code_verifier": code_verifier}))
    if secrets.mode == "fails late":
        raise CheckFailed(FailureCode.PERMISSION_DENIED)


@hookimpl
def connectory_test_connection(secrets: ArchiveSecrets, context: CheckContext) -> None:
    if context.tokens is not None:  # always renewed, to see that the next test has the new ones
        renewal = {"grant_type": "refresh_token", "refresh_token": context.tokens["refresh_token"]}
        context.store_tokens(dict(context.tokens) | _tokens(secrets, context, renewal))
        if secrets.mode == "slow":
            time.sleep(1.5)
        headers = {"Authorization": f"Bearer {context.tokens['access_token']}"}
        with context.step("query"):
            _ask(secrets, context, "GET", "/userinfo", headers)


def _tokens(secrets: ArchiveSecrets, context: CheckContext, form: dict[str, str | None]) -> dict[str, object]:
    basic = base64.b64encode(f"{secrets.client_id}:{secrets.client_secret.get_secret_value()}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    return _ask(secrets, context, "POST", "/oauth2/token", headers, urlencode(form))


def _ask(secrets, context, method: str, path: str, headers: dict[str, str], body: str = "") -> dict[str, object]:
    connection = HTTPConnection(secrets.host, secrets.port)
    connection.sock, _ = context.connect(secrets.host, secrets.port)
    with context.step("authenticate"):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise CheckFailed(
                FailureCode.AUTH_FAILED,
                remedy="The consent was withdrawn; renew it with GET /api/v1/connection/{key}/authorize.",
            )
        return json.loads(answer.read())
