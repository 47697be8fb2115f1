"""Secrets as they may be shown, and what a request means that sends back what it was shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connectory.contract.secrets import URL_FIELD, Secrets
from connectory.documents.sensitivity import accepted_names, holds_secrets, is_endpoint, is_sensitive, nested_model
from connectory.documents.validation import Document, FieldProblem, SecretsInvalid, children_in, refuse_depth

MASK = "**********"
"""What a stored sensitive value reads back as. Sent back, it means "unchanged"."""


def mask_document(model: type[Secrets], document: Document) -> Document:
    """`document` as it may be shown: sensitive values replaced by `MASK`, a url with its password replaced."""
    return {name: _masked(model, name, value) for name, value in document.items()}


def _masked(model: type[Secrets], name: str, value: Any) -> Any:
    if name == URL_FIELD and model.connectory_url is not None:
        return model.connectory_url.mask(value, MASK)
    if is_sensitive(model, name):
        return MASK
    nested = nested_model(model, name)
    return mask_document(nested, value) if nested is not None and isinstance(value, dict) else value


def sensitive_texts(model: type[Secrets], document: Document) -> list[str]:
    """Every sensitive text in `document`, at any depth: what must never be seen outside of it."""
    found: list[str] = []
    for name, value in document.items():
        if name == URL_FIELD and model.connectory_url is not None:
            grammar = model.connectory_url
            found += [value] if value != grammar.mask(value, MASK) else []
            found += [text for text in [grammar.parse(value).get(grammar.password or "")] if text]
        elif is_sensitive(model, name):
            found += list(_texts(value))
        else:
            nested = nested_model(model, name)
            if nested is not None and isinstance(value, dict):
                found += sensitive_texts(nested, value)
    return found


def merge_documents(model: type[Secrets], submitted: Any, stored: Document | None, *, replace: bool) -> dict[str, Any]:
    """What a request means, given what is stored: masked values filled in, and for a merge the rest kept.

    The result still has to be validated.

    Args:
        submitted: the request's body. A value that equals its mask means "unchanged"; `null` removes a field.
        stored: the stored document, or `None`.
        replace: `True` replaces the document, `False` merges into it. With neither stored, both are the same.

    Raises:
        SecretsInvalid: `submitted` is not an object; a mask was sent where nothing is stored; or a field that decides where
            the secrets go changes while a stored sensitive value would be kept.
    """
    if not isinstance(submitted, Mapping):
        raise SecretsInvalid([FieldProblem(loc=[], msg="The secrets must be a JSON object.", type="dict_type")])
    refuse_depth(submitted)
    if not stored and not _holds_mask(submitted):
        return dict(submitted)
    stored = stored or {}
    shown = mask_document(model, stored)
    unchanged = {name for name, value in submitted.items() if _holds_mask(value) and shown.get(name) == value}
    orphans = [
        name
        for name, value in submitted.items()
        if name not in unchanged and MASK in _texts(value) and holds_secrets(model, name)
    ]
    if orphans:
        message = "No stored value to keep: the masked value cannot be stored."
        raise SecretsInvalid([FieldProblem(loc=[name], msg=message, type="masked_value") for name in orphans])
    if URL_FIELD in submitted and URL_FIELD not in unchanged and f":{MASK}@" in str(submitted[URL_FIELD]):
        message = "The url changes, so its password must be sent again."
        raise SecretsInvalid([FieldProblem(loc=[URL_FIELD], msg=message, type="secrets_required")])
    kept = {} if replace else dict(stored)
    merged = kept | {name: stored[name] if name in unchanged else value for name, value in submitted.items()}
    _require_fresh_secrets(model, merged, stored, fresh={name for name in submitted if name not in unchanged})
    return merged


def _require_fresh_secrets(
    model: type[Secrets], merged: Mapping[str, Any], stored: Document, *, fresh: set[str]
) -> None:
    """Refuse a change of endpoint that would carry stored sensitive values along."""
    changed = [
        name for name in accepted_names(model) if is_endpoint(model, name) and _differs(model, name, merged, stored)
    ]
    carried = [
        name
        for name in stored
        if name not in fresh and holds_secrets(model, name) and merged.get(name) is not None and name not in changed
    ]
    if changed and carried:
        message = f"Must be sent again, because {', '.join(changed)} changes: stored secrets do not follow to another endpoint."
        raise SecretsInvalid([FieldProblem(loc=[name], msg=message, type="secrets_required") for name in carried])


def _differs(model: type[Secrets], name: str, merged: Mapping[str, Any], stored: Document) -> bool:
    default = model.model_fields[name].default if name in model.model_fields else None
    before, after = (value.get(name) if value.get(name) is not None else default for value in (stored, merged))
    return str(before) != str(after)


def _holds_mask(value: Any) -> bool:
    return any(MASK in text for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        return
    for child in children_in(value):
        yield from _texts(child)
