"""Secret documents between a request and their envelopes: the only place of the API that has them in plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from connectory.api.http.errors import Refused
from connectory.catalog.catalog import Catalog, ConnectorUnavailable
from connectory.catalog.loaded import LoadedConnector
from connectory.contract.check import FailureCode
from connectory.documents.masking import mask_document, merge_documents
from connectory.documents.sensitivity import MASK
from connectory.documents.validation import Document, FieldProblem, SecretsInvalid, secrets_document
from connectory.store import envelopes as sealed
from connectory.store.connections import StoredConnection
from connectory.store.envelopes import Sealed, SealedTokens, open_masked, open_secrets, seal_all
from connectory.vault import EnvelopeUnreadable, Tampered, Vault

_MASK = MASK.encode()


def seal_document(vault: Vault, connector: LoadedConnector, connection_id: str, document: Document) -> Sealed:
    """Both envelopes of a connection's secrets. The connection type is sealed in, and compared on opening."""
    [sealed] = seal_documents(vault, [(connector, connection_id, document)])
    return sealed


def seal_documents(vault: Vault, documents: Sequence[tuple[LoadedConnector, str, Document]]) -> list[Sealed]:
    """`seal_document` for many connections; much faster than one after the other.

    Args:
        documents: for each connection its connector, its id, and its secrets.
    """
    plaintexts = []
    for connector, connection_id, document in documents:
        masked = mask_document(connector.secrets_model, document)
        both = _plaintext(connector.identifier, document), _plaintext(connector.identifier, masked)
        plaintexts.append((connection_id, *both))
    return seal_all(vault, plaintexts)


def open_document(vault: Vault, connection: StoredConnection, envelope: str) -> Document:
    """The secrets of a connection.

    Raises:
        EnvelopeUnreadable: they cannot be opened, or are of another connection type.
    """
    return _secrets(open_secrets(vault, connection.id, envelope), connection)


def open_masked_document(vault: Vault, connection: StoredConnection, envelope: str) -> Document:
    """The secrets of a connection as they may be shown.

    Raises:
        EnvelopeUnreadable: they cannot be opened, or are of another connection type.
    """
    return _secrets(open_masked(vault, connection.id, envelope), connection)


def seal_tokens(vault: Vault, connection: StoredConnection, tokens: Mapping[str, Any]) -> SealedTokens:
    """The envelope of tokens that were obtained with a connection's secrets, which are sealed in and compared on opening."""
    content = {"v": 1, **_belongs_to(connection), "tokens": dict(tokens)}
    # Not by orjson: whatever JSON a connector handed over must pass, numbers of any size included.
    return sealed.seal_tokens(vault, connection.id, json.dumps(content).encode())


def open_tokens(vault: Vault, connection: StoredConnection, envelope: str) -> dict[str, Any]:
    """The tokens that were obtained with a connection's secrets.

    Raises:
        EnvelopeUnreadable: they cannot be opened, or are of other secrets.
    """
    content = json.loads(sealed.open_tokens(vault, connection.id, envelope))
    if any(content[name] != value for name, value in _belongs_to(connection).items()):
        raise Tampered
    tokens: dict[str, Any] = content["tokens"]
    return tokens


def _belongs_to(connection: StoredConnection) -> dict[str, Any]:
    return {"connection_type": connection.connection_type, "secrets_version": connection.secrets_version}


def _plaintext(connection_type: str, document: Document) -> bytes:
    return orjson.dumps({"v": 1, "connection_type": connection_type, "secrets": document})


def _secrets(plaintext: bytes, connection: StoredConnection) -> Document:
    content = orjson.loads(plaintext)
    if content["connection_type"] != connection.connection_type:
        raise Tampered
    secrets: Document = content["secrets"]
    return secrets


def holds_mask(payload: Any) -> bool:
    """Whether any text in `payload`, a JSON value, holds the mask, so that its meaning depends on what is stored."""
    return _MASK in orjson.dumps(payload)  # orjson escapes no asterisk, so this is a search of all texts


def stored_document(vault: Vault, connection: StoredConnection, envelope: str | None) -> Document | None:
    """What a request that changes part of the secrets starts from; `None` where none are stored.

    Raises:
        Refused: 409, if they are stored and cannot be opened.
    """
    if envelope is None:
        return None
    try:
        return open_document(vault, connection, envelope)
    except EnvelopeUnreadable:
        raise Refused(409, FailureCode.SECRETS_UNREADABLE.reason.replace("{key}", connection.key)) from None


def usable_connector(catalog: Catalog, connection: StoredConnection) -> LoadedConnector:
    """The connector of a stored connection.

    Raises:
        Refused: 409, if it is not available: nothing can validate the secrets.
    """
    try:
        return catalog.require(connection.connection_type, connection.distribution)
    except ConnectorUnavailable as problem:
        raise Refused(409, f"The secrets cannot be validated. {problem}") from None


def validated(connector: LoadedConnector, payload: Any, stored: Document | None, *, replace: bool) -> Document:
    """The document that `payload` means.

    Raises:
        SecretsInvalid: with problems relative to the secrets.
    """
    if stored is not None or holds_mask(payload):
        payload = merge_documents(connector.secrets_model, payload, stored, replace=replace)
    return secrets_document(connector.secrets_model, payload)


def problems_of(error: SecretsInvalid, prefix: tuple[str | int, ...] = ()) -> list[FieldProblem]:
    """The problems as a 422 shows them: `body` is the place of one that is about the secrets as a whole."""
    return [{**problem, "loc": [*prefix, *problem["loc"]] or ["body"]} for problem in error.problems]
