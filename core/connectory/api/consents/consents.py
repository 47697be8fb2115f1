"""`/connection/{key}/authorize`: ask for a person's consent, by OAuth 2.0 authorization code (RFC 6749 §4.1)."""

from typing import Annotated

from fastapi import Request, Response
from pydantic import Field, RootModel

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.consents.consent_browser import known_browser, set_cookie
from connectory.api.consents.consent_url import ConsentImpossible, consent_url, new_verifier
from connectory.api.http.answers import NO_STORE
from connectory.api.http.errors import PROTECTED, Refused, errors, refuse_field
from connectory.api.http.logs import log
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.stored.sealing import stored_document
from connectory.catalog.catalog import ConnectorUnavailable
from connectory.catalog.loaded import LoadedConnector
from connectory.contract.consent import Authorization
from connectory.documents.validation import Document, SecretsInvalid, parse_secrets
from connectory.store import audit, consents
from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection
from connectory.store.envelopes import load_envelopes
from connectory.store.timestamps import utc_now

router = Router(prefix="/api/v1", tags=["Authorization"], responses=PROTECTED)


class ConsentAddress(RootModel[str]):
    """Where to send the person's browser."""

    root: Annotated[
        str,
        Field(
            json_schema_extra={"format": "uri"},
            examples=["https://provider.example/authorize?response_type=code&client_id=…&state=…"],
        ),
    ]


@router.get(
    "/connection/{connection_key}/authorize",
    operation_id="authorizeConnection",
    summary="Get the address where a person consents to a connection",
    dependencies=[needs("connection:authorize")],
    responses=errors(400, 404, 409),
)
async def authorize(request: Request, response: Response, connection_key: ConnectionKey) -> ConsentAddress:
    """Open the address in a browser within ten minutes. It works once, and only while the secrets stay as they are.

    The answer sets a cookie: in the browser that has it the consent counts, in any other it has to be confirmed.
    """
    service = service_of(request)
    address, browser = await service.threads.write(_ask, service, request, connection_key, actor(request))
    response.headers.update(NO_STORE)
    set_cookie(response, browser)
    return address


def _ask(service: Service, request: Request, key: str, who: Actor) -> tuple[ConsentAddress, str]:
    with service.store.read() as database:
        connection = find_connection(database, key)
        envelope = load_envelopes(database, connection.id)[0] if connection.has_secrets else None
    authorization = _authorization(service, connection, envelope, who.request_id)
    state, verifier = consents.new_secret(), new_verifier() if authorization.pkce else None
    try:
        address = consent_url(authorization, state, verifier)
    except ConsentImpossible as problem:
        raise Refused(409, f"Consent cannot be asked for. {problem} Correct it in the secrets.") from None
    sealed = consents.seal_verifier(service.vault, state, verifier) if verifier is not None else None
    browser = known_browser(request, authorization.redirect_uri)
    now = utc_now()
    with service.store.write() as database:
        stored = consents.ask(
            database,
            state,
            connection.id,
            secrets_version=connection.secrets_version,
            asked_by=who.id,
            browser=browser,
            verifier=sealed,
            now=now,
        )
        if stored:
            audit.append(database, who.did("consent_asked", connection, result_code="200", at=now))
    if not stored:
        raise Refused(409, "The secrets are being changed by others at the same time; try again.")
    return ConsentAddress(address), browser


def _authorization(
    service: Service, connection: StoredConnection, envelope: str | None, request_id: str | None
) -> Authorization:
    try:
        connector = service.catalog.require(connection.connection_type, connection.distribution)
    except ConnectorUnavailable as problem:
        raise Refused(409, f"Consent cannot be asked for. {problem}") from None
    if not connector.asks_for_consent:
        raise _uses_no_code()
    document = stored_document(service.vault, connection, envelope) or {}
    model = connector.secrets_model  # imports the plugin: a lost plugin must not be reported as a failure of its hook
    try:
        found = connector.authorization(parse_secrets(model, document))
    except SecretsInvalid:
        raise _incomplete(connection, connector, document) from None
    except Exception as error:  # the plugin's own; its text may hold a secret
        log.warning(
            "connector failed", connection_type=connector.identifier, error=type(error).__name__, request_id=request_id
        )
        message = (
            "Consent cannot be asked for: the connector failed in an unexpected way; the log names the error type."
        )
        raise Refused(409, message) from None
    if found is None:
        raise _uses_no_code()
    return found


def _uses_no_code() -> Refused:
    message = "The connection config does not use OAuth2 Authorization Code authentication."
    return refuse_field(["path", "connection_key"], message, "authorization_not_used")


def _incomplete(connection: StoredConnection, connector: LoadedConnector, document: Document) -> Refused:
    missing = [name for name in connector.schema["required"] if name not in document]
    if not missing:
        outdated = "The stored secrets do not fit this version of the connector; send a complete set again."
        return Refused(409, outdated)
    return Refused(400, f"Missing required secret(s) '{', '.join(missing)}' for {connection.key}")
