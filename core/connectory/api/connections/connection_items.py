"""The items of `PATCH /connection`: from JSON to what the store saves, or to a 422 that names each problem."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from connectory.api.connections.connection_shapes import GIVEN, ConnectionItem, ConnectionItems, Item
from connectory.api.http.errors import Refused, name_if_plain, rebuild
from connectory.api.node.service import Service
from connectory.api.stored.lookup import unknown_type_problem
from connectory.api.stored.sealing import (
    holds_mask,
    problems_of,
    seal_document,
    seal_documents,
    stored_document,
    validated,
)
from connectory.catalog.catalog import ConnectorUnavailable
from connectory.catalog.loaded import LoadedConnector
from connectory.documents.validation import Document, FieldProblem, SecretsInvalid
from connectory.store.bulk_save import SaveItem, Superseded
from connectory.store.connections import EDITABLE, KEY_PATTERN, StoredConnection
from connectory.store.envelopes import Sealed, load_envelopes
from connectory.vault import Vault


@dataclass(frozen=True)
class CheckedItem:
    """A valid item: what to save, and the connection that its key names now."""

    save: SaveItem
    stored: StoredConnection | None


@dataclass(frozen=True)
class ParsedItems:
    """The items of a request, those that cannot be read as `None`, and what is wrong with them so far."""

    items: list[Item | None]
    problems: list[FieldProblem]


class _ItemInvalid(Exception):
    """One item does not fit; the others are looked at all the same."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("an item is not valid")
        self.problems = problems


def check_items(service: Service, parsed: ParsedItems, stored: Mapping[str, StoredConnection]) -> list[CheckedItem]:
    """Check every item against the catalogue and what is stored, and seal its secrets.

    Args:
        stored: the connections among the keys that are given.

    Raises:
        Superseded: a connection has other secrets by now.
        Refused: 422 with all problems found; 409 where masked secrets refer to stored ones that cannot be opened, or secrets
            are given to a connection whose connector is not available.
    """
    problems = list(parsed.problems)
    checked = []
    fresh_ids = [str(uuid.uuid4()) for _ in parsed.items]
    for index, item in enumerate(parsed.items):
        if item is None:
            continue
        known = stored.get(item.key) if item.key is not None else None
        try:
            if known is None:
                save = _new(service, index, item, fresh_ids[index])
            else:
                save = _changed(service, index, item, known)
        except _ItemInvalid as invalid:
            problems += invalid.problems
        else:
            checked.append(CheckedItem(save, known))
    if problems:
        raise Refused(422, sorted(problems, key=lambda problem: problem["loc"][1]))
    _seal(service, [item.save.seal for item in checked if isinstance(item.save.seal, _Sealer)])
    return checked


def parse_items(payload: Any) -> ParsedItems:
    """The items of a request, each by its own rules.

    Raises:
        Refused: 422, where it is not a list of at most so many items.
    """
    problems: list[FieldProblem] = []
    items: list[Item | None]
    try:
        items = ConnectionItems.model_validate(payload).root
    except ValidationError as error:
        problems = [_problem(found) for found in error.errors(include_url=False, include_input=False)]
        if any(len(problem["loc"]) == 1 for problem in problems):
            raise Refused(422, problems) from None
        invalid = {problem["loc"][1] for problem in problems}
        items = [
            None if index in invalid else ConnectionItem.model_validate(item) for index, item in enumerate(payload)
        ]
    valid = [(index, item) for index, item in enumerate(items) if item is not None]
    first = {item.key: index for index, item in reversed(valid)}
    for index, item in valid:
        problems += _names_it(index, item)
        if item.key is not None and first[item.key] < index:
            message = "The same key stands in an earlier item."
            problems.append(FieldProblem(loc=["body", index, "key"], msg=message, type="duplicate_key"))
    return ParsedItems(items, problems)


def _problem(error: Any) -> FieldProblem:
    if error["type"] != "extra_forbidden":
        return rebuild([error], ["body"])[0]
    loc: list[str | int] = ["body", error["loc"][0]]
    name = name_if_plain(str(error["loc"][1]))
    known = ", ".join(GIVEN)
    if name is None:
        message = f"Holds a member that is not known; its name is not repeated here. Known: {known}."
    else:
        loc.append(name)
        message = f"The member '{name}' is not known. Known: {known}."
    return FieldProblem(loc=loc, msg=message, type="extra_forbidden")


def _names_it(index: int, item: Item) -> list[FieldProblem]:
    if item.key is None:
        if item.name is None:
            message = "Field required, unless there is a key."
            return [FieldProblem(loc=["body", index, "name"], msg=message, type="missing")]
    elif not KEY_PATTERN.fullmatch(item.key):
        message = "Must have 1 to 200 letters, digits, '_', '.' or '-', and be neither '.' nor '..'."
        return [FieldProblem(loc=["body", index, "key"], msg=message, type="string_pattern_mismatch")]
    return []


def _new(service: Service, index: int, item: Item, new_id: str) -> SaveItem:
    """A connection to create."""
    problems = [
        FieldProblem(loc=["body", index, name], msg="Field required to create a connection.", type="missing")
        for name in ("connection_type", "access")
        if getattr(item, name) is None
    ]
    connector = service.catalog.get(item.connection_type) if item.connection_type is not None else None
    if item.connection_type is not None and connector is None:
        problems.append(_unknown_type(service, index, item.connection_type))
    if problems or connector is None:
        raise _ItemInvalid(problems)
    seal = None
    if item.secrets is not None:
        seal = _Sealer(service.vault, connector, new_id, _document(connector, index, item.secrets.root))
    return SaveItem(
        key=item.key,
        connection_type=connector.identifier,
        system_type=connector.system_type,
        distribution=connector.record.distribution,
        fields=_given(item),
        seal=seal,
        new_id=new_id,
    )


def _changed(service: Service, index: int, item: Item, stored: StoredConnection) -> SaveItem:
    """A stored connection to change. That its type stays the same is for the store to say, per item."""
    identifier = item.connection_type if item.connection_type is not None else stored.connection_type
    if identifier != stored.connection_type and service.catalog.get(identifier) is None:
        raise _ItemInvalid([_unknown_type(service, index, identifier)])
    seal = None
    if item.secrets is not None:
        try:
            connector = service.catalog.require(identifier, stored.distribution)
        except ConnectorUnavailable as problem:
            raise Refused(409, f"The secrets of '{stored.key}' cannot be validated. {problem}") from None
        before = None
        if stored.has_secrets and holds_mask(item.secrets.root):
            before = _stored_document(service, stored)
        seal = _Sealer(service.vault, connector, stored.id, _document(connector, index, item.secrets.root, before))
    return SaveItem(
        key=item.key,
        connection_type=identifier,
        system_type=stored.system_type,
        distribution=stored.distribution,
        fields=_given(item),
        seal=seal,
    )


def _unknown_type(service: Service, index: int, identifier: str) -> FieldProblem:
    message = unknown_type_problem(service.catalog, identifier)
    return FieldProblem(loc=["body", index, "connection_type"], msg=message, type="enum")


def _given(item: Item) -> dict[str, Any]:
    """The members that were given. An explicit `null` clears a description, and says nothing for the others."""
    return {
        name: getattr(item, name)
        for name in item.model_fields_set & EDITABLE
        if name == "description" or getattr(item, name) is not None
    }


def _document(
    connector: LoadedConnector, index: int, secrets: dict[str, Any], before: Document | None = None
) -> Document:
    try:
        return validated(connector, secrets, before, replace=True)
    except SecretsInvalid as error:
        raise _ItemInvalid(problems_of(error, ("body", index, "secrets"))) from None


def _stored_document(service: Service, stored: StoredConnection) -> Document | None:
    with service.store.look() as database:
        envelope, _, version = load_envelopes(database, stored.id)
    if version != stored.secrets_version:
        raise Superseded
    return stored_document(service.vault, stored, envelope)


@dataclass(slots=True)
class _Sealer:
    """Gives the envelopes of an item's secrets: those that were sealed before, if the connection is the expected one."""

    vault: Vault
    connector: LoadedConnector
    expected_id: str
    document: Document = field(repr=False)
    sealed: Sealed | None = None

    def __call__(self, connection_id: str) -> Sealed:
        if self.sealed is not None and connection_id == self.expected_id:
            return self.sealed
        # An earlier item of the request, or somebody else, creates the key first.
        return seal_document(self.vault, self.connector, connection_id, self.document)


def _seal(service: Service, sealers: Sequence[_Sealer]) -> None:
    """Seal the secrets of all items, at once."""
    documents = [(one.connector, one.expected_id, one.document) for one in sealers]
    for sealer, sealed in zip(sealers, seal_documents(service.vault, documents), strict=True):
        sealer.sealed = sealed
