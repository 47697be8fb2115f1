"""The test of a connection: connect, authorize, send the definition's requests, judge the answers."""

from __future__ import annotations

from connectory import CheckContext, CheckFailed, FailureCode, Secrets
from connectory.toolkit import HttpClient
from connectory_saas.answers import judge
from connectory_saas.auth import FROM_SECRETS, Credentials, Values, bearer_token
from connectory_saas.definition import AuthorizationCode, ClientCredentials, Definition, Request
from connectory_saas.fields import plain_values
from connectory_saas.settings import SaasSettings
from connectory_saas.templates import fill, fill_url


def run_test(definition: Definition, secrets: Secrets, context: CheckContext) -> None:
    """Prove `secrets` with the requests of `definition`.

    Raises:
        CheckFailed: they do not work; the code says why.
    """
    values = plain_values(secrets)
    with HttpClient(context) as client:
        for number, request in enumerate(definition.test):
            sender = _Sender(definition, request, values, client, context)
            auth = request.auth or definition.auth
            if isinstance(auth, ClientCredentials | AuthorizationCode):
                _send_with_token(definition, sender, auth, values, client, context)
            else:
                # A key is accepted or refused with the first answer: there is no login before it.
                sender.send(FROM_SECRETS[auth.strategy](auth, values), "authenticate" if number == 0 else "query")


class _Sender:
    """One request of a test, ready to be sent with whatever authorizes it."""

    def __init__(
        self, definition: Definition, request: Request, values: Values, client: HttpClient, context: CheckContext
    ) -> None:
        self._rate_limit = definition.rate_limit
        self._request = request
        self._client = client
        self._context = context
        self._url = context.settings(SaasSettings).locate(fill_url(request.url, values))
        self._query = {name: fill(text, values) for name, text in request.query.items()}
        self._headers = {name: fill(text, values) for name, text in request.headers.items()}

    def send(self, credentials: Credentials, step: str) -> None:
        """Send the request as `step`, and judge the answer.

        Raises:
            CheckFailed: the answer is not a success.
        """
        self._client.connect(self._url)
        with self._context.step(step):
            answer = self._client.request(
                self._request.method,
                self._url,
                params=self._query | credentials.query,
                headers=self._headers | credentials.headers,
            )
            judge(answer, self._request, self._rate_limit)


def _send_with_token(
    definition: Definition,
    sender: _Sender,
    auth: ClientCredentials | AuthorizationCode,
    values: Values,
    client: HttpClient,
    context: CheckContext,
) -> None:
    from connectory_saas.oauth import Tokens

    tokens = Tokens(auth, definition.rate_limit, values, client, context)
    extra = {name: fill(text, values) for name, text in auth.headers.items()}

    def send(token: str) -> None:
        sender.send(Credentials(bearer_token(token).headers | extra), "query")

    stored = (context.tokens or {}).get("access_token")
    token = tokens.current()
    try:
        send(token)
    except CheckFailed as failure:
        if failure.code is not FailureCode.AUTH_FAILED or token != stored:
            raise
        # Revoked before its time, or the vendor's clock differs from ours: what renews it decides.
        send(tokens.renewed())
