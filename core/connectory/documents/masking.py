"""Secrets as they may be shown, and what a request means that sends back what it was shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connectory.contract.secrets import URL_FIELD, Secrets, required_fields
from connectory.contract.urls import UrlInvalid
from connectory.documents.sensitivity import (
    MASK,
    accepted_names,
    holds_secrets,
    is_endpoint,
    is_sensitive,
    nested_model,
)
from connectory.documents.validation import Document, FieldProblem, SecretsInvalid, children_in, refuse_depth


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
        replace: `True` replaces the document, `False` merges into it: a new url takes the place of the stored parts that it
            stands for, and all the parts that are needed take the place of a stored url. With neither stored, both are the same.

    Raises:
        SecretsInvalid: `submitted` is not an object; a mask was sent where nothing is stored; or a field that decides where
            the secrets go changes while a stored sensitive value would be kept.
    """
    if not isinstance(submitted, Mapping):
        raise SecretsInvalid([FieldProblem(loc=[], msg="The secrets must be a JSON object.", type="dict_type")])
    refuse_depth(model, submitted)
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
    given = {name for name, value in submitted.items() if value is not None and name not in unchanged}
    replaced = set() if replace else _replaced(model, submitted, stored, given)
    kept = {} if replace else {name: value for name, value in stored.items() if name not in replaced}
    merged = kept | {name: stored[name] if name in unchanged else value for name, value in submitted.items()}
    fresh, lost = submitted.keys() - unchanged, _lost_password(model, submitted, stored, replaced)
    _require_fresh_secrets(model, merged, stored, fresh=fresh, lost=lost)
    return merged


def _replaced(model: type[Secrets], submitted: Mapping[str, Any], stored: Document, given: set[str]) -> set[str]:
    """The stored fields that what was submitted takes the place of: parts by a url, or a url by the parts."""
    grammar = model.connectory_url
    if grammar is None:
        return set()
    if URL_FIELD in given:
        stood_for = grammar.fields | _parts_of(model, submitted).keys()
        return {name for name in stored.keys() - submitted.keys() if name in stood_for}
    needed = grammar.needed_parts(required_fields(model)) or grammar.fields
    return {URL_FIELD} & stored.keys() - submitted.keys() if needed <= given else set()


def _parts_of(model: type[Secrets], document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that the url in `document` stands for; none where it has no url, or one that validation will refuse."""
    url = document.get(URL_FIELD)
    if model.connectory_url is None or not isinstance(url, str):
        return {}
    try:
        return model.connectory_url.parse(url)
    except UrlInvalid:
        return {}


def _lost_password(
    model: type[Secrets], submitted: Mapping[str, Any], stored: Document, replaced: set[str]
) -> list[str]:
    """The password's field, where it went with what was replaced, and nobody said that there is none any more."""
    password = model.connectory_url.password if model.connectory_url is not None else None
    if password is None or password in submitted:
        return []
    if URL_FIELD in replaced:
        return [password] if password in _parts_of(model, stored) else []
    written = _parts_of(model, submitted)  # of a url that cannot be read, validation tells
    return [password] if password in replaced and written and password not in written else []


def _require_fresh_secrets(
    model: type[Secrets], merged: Mapping[str, Any], stored: Document, *, fresh: set[str], lost: list[str]
) -> None:
    """Refuse a change of endpoint that would carry stored sensitive values along, or drop them in silence."""
    changed = [
        name for name in accepted_names(model) if is_endpoint(model, name) and _differs(model, name, merged, stored)
    ]
    carried = [
        name
        for name in stored
        if name not in fresh and holds_secrets(model, name) and merged.get(name) is not None and name not in changed
    ]
    if changed and (carried or lost):
        what = URL_FIELD if URL_FIELD in changed else ", ".join(changed)
        because = f"because {what} changes: stored secrets do not follow to another endpoint."
        again = dict.fromkeys(carried, "Must be sent again,")
        again |= dict.fromkeys(lost, "Must be sent again, in the url," if URL_FIELD in fresh else "Must be sent again,")
        raise SecretsInvalid(
            [FieldProblem(loc=[name], msg=f"{text} {because}", type="secrets_required") for name, text in again.items()]
        )


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
