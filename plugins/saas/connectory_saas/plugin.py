"""The connector that a definition describes."""

from __future__ import annotations

import builtins
from pathlib import Path

from connectory import CheckContext, CheckFailed, Description, FailureCode
from connectory.consent import Authorization, ConsentingConnector
from connectory.data import CollectionInfo
from connectory.sources import ConnectorUnusable
from connectory_saas.contents import collections_of
from connectory_saas.definition import AuthorizationCode, ClientCredentials, Definition, load_definition
from connectory_saas.fields import SaasSecrets, plain_values, secrets_model
from connectory_saas.settings import SaasSettings
from connectory_saas.templates import fill, fill_url


def plugin_of(path: Path) -> SaasConnector:
    """The connector that the definition in `path` describes. Its identifier must be the file's name.

    Raises:
        ConnectorUnusable: the definition is not accepted; the message names file, line and field.
    """
    definition = load_definition(path)
    if definition.identifier != path.stem:
        raise ConnectorUnusable(f"{path.name}, identifier: Must be the file's name, '{path.stem}'."[:500])
    return DescribedConnector(definition) if definition.collections else SaasConnector(definition)


class SaasConnector(ConsentingConnector[SaasSecrets]):
    """One connector. The modules that send requests are imported when it does.

    Args:
        definition: what it is.
    """

    identifier = ""  # each has its own: see below
    type = "saas"
    settings = SaasSettings

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._models: dict[bool, type[SaasSecrets]] = {}
        with_tokens = isinstance(definition.auth, ClientCredentials | AuthorizationCode)
        self.identifier = definition.identifier
        self.description = Description(
            human_readable=definition.name,
            icon=definition.icon,
            user_guide=definition.user_guide,
            category=definition.category,
            authorization_required=isinstance(definition.auth, AuthorizationCode),
            drivers=("httpx", "authlib.oauth2.client") if with_tokens else ("httpx",),
        )

    def secret_schema(self, settings: SaasSettings) -> builtins.type[SaasSecrets]:
        """The fields of a connection."""
        loopback = settings.saas_allow_http_loopback
        if loopback not in self._models:
            self._models[loopback] = secrets_model(self._definition, loopback=loopback)
        return self._models[loopback]

    def test(self, secrets: SaasSecrets, context: CheckContext) -> None:
        """Send the definition's requests, and judge the answers."""
        from connectory_saas.engine import run_test

        run_test(self._definition, secrets, context)

    def authorization(self, secrets: SaasSecrets, settings: SaasSettings) -> Authorization | None:
        """Where a person consents, if that is how the service is authorized."""
        auth = self._definition.auth
        if not isinstance(auth, AuthorizationCode):
            return None
        values = plain_values(secrets)
        return Authorization(
            authorize_url=settings.locate(fill_url(auth.authorize_url, values)),
            token_url=settings.locate(fill_url(auth.token_url, values)),
            client_id=fill(auth.client_id, values),
            redirect_uri=fill(auth.redirect_uri, values),
            scopes=tuple((auth.scope or "").split()),
            pkce=auth.pkce,
        )

    def exchange_code(self, secrets: SaasSecrets, code: str, code_verifier: str | None, context: CheckContext) -> None:
        """Exchange an authorization code for tokens."""
        from connectory.toolkit import HttpClient
        from connectory_saas.oauth import Tokens

        auth = self._definition.auth
        if not isinstance(auth, AuthorizationCode):
            raise CheckFailed(FailureCode.HTTP_4XX, remedy="This service needs nobody's consent.")
        with HttpClient(context) as client:
            tokens = Tokens(auth, self._definition.rate_limit, plain_values(secrets), client, context)
            tokens.exchange(code, code_verifier)


class DescribedConnector(SaasConnector):
    """A connector whose definition says what every account holds. Only such a one can be discovered."""

    def collections(self, settings: SaasSettings | None) -> tuple[CollectionInfo, ...]:
        """The definition's collections, without asking the service."""
        del settings  # they are the same everywhere
        return collections_of(self._definition.collections)
