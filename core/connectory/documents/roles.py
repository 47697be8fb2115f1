"""What each field of the secrets is for, and which fields a failed test is about."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from connectory.contract.failure import FailureCode
from connectory.contract.fields import RoleName
from connectory.contract.secrets import URL_FIELD, Secrets, required_fields
from connectory.documents.sensitivity import (
    accepted_names,
    holds_secrets,
    is_endpoint,
    role_mark,
    takes_lines,
    why_public,
)


class FieldFacts(NamedTuple):
    """What is known of one field without the class of the secrets.

    Attributes:
        name: of the field; `url` where the class takes one.
        role: what it is for.
        repoints: whether its change makes the service ask for the sensitive values again.
        required: whether it must be given, as itself or in a url.
        in_url: whether a url may hold it.
        lines: whether it is a text of several lines.
    """

    name: str
    role: RoleName
    repoints: bool
    required: bool = False
    in_url: bool = False
    lines: bool = False


_WHO = re.compile(r"(?:^|_)(?:user|username|login|client_id|key_id)(?:_|$)")
_WHAT = re.compile(r"(?:^|_)(?:db|dbname|database|catalog|dataset|keyspace|schema)(?:_|$)")
_SCHEMA = re.compile(r"(?:^|_)(?:dataset|schema)(?:_|$)")

_ROLES: Mapping[FailureCode, RoleName] = {
    **dict.fromkeys(
        (
            FailureCode.DNS_FAILED,
            FailureCode.DNS_TIMEOUT,
            FailureCode.CONNECT_REFUSED,
            FailureCode.CONNECT_TIMEOUT,
            FailureCode.PROTOCOL_MISMATCH,
            FailureCode.ADDRESS_NOT_ALLOWED,
        ),
        "endpoint",
    ),
    FailureCode.TLS_FAILED: "tls",
    FailureCode.TLS_UNTRUSTED: "tls",
    FailureCode.AUTH_FAILED: "credential",
    FailureCode.INSECURE_AUTH_REFUSED: "credential",
    FailureCode.DATABASE_NOT_FOUND: "database",
    FailureCode.SCHEMA_NOT_FOUND: "database",
}
"""The role of the fields that a code is about. The other codes are about no field: the service or the far end has to change."""


def field_facts(model: type[Secrets]) -> tuple[FieldFacts, ...]:
    """What is known of each field that may be submitted, in the order of the schema."""
    grammar = model.connectory_url
    in_url = frozenset() if grammar is None else grammar.fields | grammar.query_keys.keys()
    return tuple(
        FieldFacts(
            name,
            role_of(model, name),
            is_endpoint(model, name),
            name in required_fields(model),
            name in in_url,
            name in model.model_fields and takes_lines(model, name),
        )
        for name in accepted_names(model)
    )


def role_of(model: type[Secrets], name: str) -> RoleName:
    """What the field `name` is for: what `Role` says, else what its type says, else its part in a url, else its name."""
    grammar = model.connectory_url
    if grammar is not None and name == URL_FIELD:
        return "endpoint"
    if (mark := role_mark(model, name)) is not None:
        return mark.name
    if holds_secrets(model, name):
        return "credential"
    if is_endpoint(model, name):
        return "endpoint"
    if why_public(model, name) is not None or _WHO.search(name) or (grammar is not None and name == grammar.username):
        return "credential"
    return "database" if _WHAT.search(name) or (grammar is not None and name in grammar.path) else "other"


def place_of(fields: Sequence[FieldFacts], secrets: Secrets) -> tuple[str, ...]:
    """The texts among the secrets that tell one system from others: its hosts and its database. Ports and schemas are not."""
    of_role = (field.name for role in ("endpoint", "database") for field in fields if field.role == role)
    values = (getattr(secrets, name, None) for name in of_role if name != URL_FIELD and not _SCHEMA.search(name))
    return tuple(value for value in values if isinstance(value, str))


def fields_to_blame(fields: Sequence[FieldFacts], code: FailureCode | None, given: Collection[str]) -> tuple[str, ...]:
    """The names of the fields that a failed test is about: those of its role that were given, or have to be.

    Where none of them was, these are all that could be given. A url that was given stands for its parts.

    Args:
        fields: of the connector.
        code: why the test failed; `None` where it did not.
        given: names of the fields that were given.
    """
    role = _ROLES.get(code) if code is not None else None
    of_role = [field for field in fields if field.role == role and field.name != URL_FIELD]
    if role == "database":
        is_schema = code is FailureCode.SCHEMA_NOT_FOUND
        of_role = [field for field in of_role if bool(_SCHEMA.search(field.name)) is is_schema] or of_role
    with_url = URL_FIELD in given
    meant = {
        field.name for field in of_role if field.name in given or (field.required and not (with_url and field.in_url))
    }
    if with_url and any(field.in_url and field.name not in meant for field in of_role):
        meant.add(URL_FIELD)
    meant = meant or {field.name for field in of_role}
    return tuple(field.name for field in fields if field.name in meant)
