"""The items of `PATCH /connection`: from JSON to what the store saves, or to a 422 that names each problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy.engine import Connection as DatabaseConnection

from connectory.api.connection_types import unknown_type_problem
from connectory.api.errors import Refused, name_if_plain, rebuild
from connectory.api.openapi import READ_ONLY
from connectory.api.sealing import holds_mask, problems_of, seal_document, stored_document, validated
from connectory.api.service import Service
from connectory.catalog.loaded import LoadedConnector
from connectory.documents.validation import Document, FieldProblem, SecretsInvalid
from connectory.store.bulk_save import SaveItem
from connectory.store.connections import EDITABLE, KEY_PATTERN, lock_by_keys
from connectory.store.connections import StoredConnection as Connection
from connectory.store.envelopes import Sealed, load_envelopes

MOST_ITEMS = 50
"""Items to a request, as in the specification."""


class _Item(BaseModel):
    """One item, as far as its own members tell."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None
    key: str | None = None
    connection_type: str | None = None
    access: Literal["read", "write"] | None = None
    disabled: bool = False
    description: Annotated[str, Field(max_length=5000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")] | None = None
    secrets: dict[str, Any] | None = None


_ITEMS: TypeAdapter[list[_Item]] = TypeAdapter(Annotated[list[_Item], Field(max_length=MOST_ITEMS)])


@dataclass(frozen=True)
class CheckedItem:
    """A valid item: what to save, and the connection that its key names now."""

    save: SaveItem
    stored: Connection | None


def check_items(service: Service, database: DatabaseConnection, payload: Any) -> list[CheckedItem]:
    """Check every item against its own rules, the catalogue, and what is stored; locks the stored connections.

    Raises:
        Refused: 422 with all problems found; 409 where masked secrets refer to stored ones that cannot be opened.
    """
    items = _parse(payload)
    stored = lock_by_keys(database, {item.key for item in items if item.key is not None})
    problems: list[FieldProblem] = []
    checked = []
    for index, item in enumerate(items):
        known = stored.get(item.key) if item.key is not None else None
        found = _check(service, database, index, item, known)
        if isinstance(found, CheckedItem):
            checked.append(found)
        else:
            problems += found
    if problems:
        raise Refused(422, problems)
    return checked


def _parse(payload: Any) -> list[_Item]:
    if isinstance(payload, list) and len(payload) <= MOST_ITEMS:
        payload = [_without_read_only(item) for item in payload]
    try:
        items = _ITEMS.validate_python(payload)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise Refused(422, [_problem(item) for item in found]) from None
    problems = [problem for index, item in enumerate(items) for problem in _names_it(index, item)]
    keys = [item.key for item in items]
    problems += [
        FieldProblem(loc=["body", index, "key"], msg="The same key stands in an earlier item.", type="duplicate_key")
        for index, key in enumerate(keys)
        if key is not None and key in keys[:index]
    ]
    if problems:
        raise Refused(422, problems)
    return items


def _without_read_only(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return {name: value for name, value in item.items() if name not in READ_ONLY}


def _problem(error: Any) -> FieldProblem:
    if error["type"] != "extra_forbidden":
        return rebuild([error], ["body"])[0]
    loc: list[str | int] = ["body", error["loc"][0]]
    name = name_if_plain(str(error["loc"][1]))
    known = ", ".join(_Item.model_fields)
    if name is None:
        message = f"Holds a member that is not known; its name is not repeated here. Known: {known}."
    else:
        loc.append(name)
        message = f"The member '{name}' is not known. Known: {known}."
    return FieldProblem(loc=loc, msg=message, type="extra_forbidden")


def _names_it(index: int, item: _Item) -> list[FieldProblem]:
    if item.key is None:
        if item.name is None:
            message = "Field required, unless there is a key."
            return [FieldProblem(loc=["body", index, "name"], msg=message, type="missing")]
    elif not KEY_PATTERN.fullmatch(item.key):
        message = "Must have 1 to 200 letters, digits, '_', '.' or '-', and be neither '.' nor '..'."
        return [FieldProblem(loc=["body", index, "key"], msg=message, type="string_pattern_mismatch")]
    return []


def _check(
    service: Service, database: DatabaseConnection, index: int, item: _Item, stored: Connection | None
) -> CheckedItem | list[FieldProblem]:
    problems = []
    if stored is None:
        for name in ("connection_type", "access"):
            if getattr(item, name) is None:
                message = "Field required to create a connection."
                problems.append(FieldProblem(loc=["body", index, name], msg=message, type="missing"))
    elif "access" in item.model_fields_set and item.access is None:
        message = "Must be one of: 'read' or 'write'."
        problems.append(FieldProblem(loc=["body", index, "access"], msg=message, type="literal_error"))
    identifier = item.connection_type or (stored.connection_type if stored is not None else "")
    connector = service.catalog.get(identifier)
    gone = stored is not None and identifier == stored.connection_type
    if connector is None and identifier and not gone:
        message = unknown_type_problem(service.catalog, identifier)
        problems.append(FieldProblem(loc=["body", index, "connection_type"], msg=message, type="enum"))
    if problems:
        return problems
    seal = None
    if item.secrets is not None:
        document = _document(service, database, index, item.secrets, connector, stored)
        if not isinstance(document, dict):
            return document
        seal = _sealer(service, connector, document)
    save = SaveItem(
        key=item.key,
        connection_type=identifier,
        system_type=connector.system_type if connector else stored.system_type if stored else "",
        distribution=connector.record.distribution if connector else stored.distribution if stored else "",
        fields=_given(item),
        seal=seal,
    )
    return CheckedItem(save, stored)


def _given(item: _Item) -> dict[str, Any]:
    """The members that were given. An explicit `null` clears a description, and says nothing for the others."""
    return {
        name: getattr(item, name)
        for name in item.model_fields_set & EDITABLE
        if name == "description" or getattr(item, name) is not None
    }


def _document(
    service: Service,
    database: DatabaseConnection,
    index: int,
    secrets: dict[str, Any],
    connector: LoadedConnector | None,
    stored: Connection | None,
) -> Document | list[FieldProblem]:
    if connector is None:
        assert stored is not None
        reason = service.catalog.unavailable_reason(stored.connection_type, stored.distribution)
        raise Refused(409, f"The secrets of '{stored.key}' cannot be validated. {reason}")
    before = None
    if stored is not None and stored.has_secrets and holds_mask(secrets):
        before = stored_document(service.vault, stored, load_envelopes(database, stored.id)[0])
    try:
        return validated(connector, secrets, before, replace=True)
    except SecretsInvalid as error:
        return problems_of(error, connector, ("body", index, "secrets"))


def _sealer(service: Service, connector: LoadedConnector | None, document: Document) -> Callable[[str], Sealed]:
    assert connector is not None

    def seal(connection_id: str) -> Sealed:
        return seal_document(service.vault, connector, connection_id, document)

    return seal
