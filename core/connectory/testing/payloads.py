"""Secrets to try: with a value in one place, with markers in every sensitive place, and any mixture that a schema suggests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st

from connectory.contract.secrets import URL_FIELD, Secrets
from connectory.documents.masking import sensitive_texts
from connectory.documents.spellings import TELLING
from connectory.documents.validation import SecretsInvalid, parse_secrets, secrets_document
from connectory.testing.schema_rules import properties_at_every_depth

Payload = dict[str, Any]
"""Secrets as a consumer sends them: plain JSON values."""


def is_accepted(model: type[Secrets], payload: Any) -> bool:
    """Whether `payload` fits the connector's schema."""
    try:
        parse_secrets(model, payload)
    except SecretsInvalid:
        return False
    return True


def text_places(schema: Mapping[str, Any]) -> list[str]:
    """The dotted names of all fields that take text of the sender's own, less those inside lists."""
    lists = [place for place, found in properties_at_every_depth(dict(schema)) if found.get("type") == "array"]
    return [
        place
        for place, found in properties_at_every_depth(dict(schema))
        if found.get("type") == "string"
        and "enum" not in found
        and not place.startswith(tuple(f"{name}." for name in lists))
    ]


def value_at(payload: Mapping[str, Any], place: str) -> Any:
    """What `payload` holds at a dotted name, or `None`."""
    found: Any = payload
    for name in place.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def with_value(model: type[Secrets], payload: Mapping[str, Any], place: str, value: Any) -> Payload:
    """`payload` with `value` at a dotted name, without what may not stand beside it."""
    changed = as_parts(model, payload)
    name, _, rest = place.partition(".")
    grammar = model.connectory_url
    if name == URL_FIELD and grammar is not None:
        changed = {key: item for key, item in changed.items() if key not in grammar.fields | grammar.query_keys.keys()}
    for group in model.connectory_exactly_one:
        if name in group:
            changed = {key: item for key, item in changed.items() if key not in group or key == name}
    if rest:
        inner = changed.get(name)
        value = _with_inner_value(inner if isinstance(inner, Mapping) else {}, rest, value)
    return changed | {name: value}


def _with_inner_value(payload: Mapping[str, Any], place: str, value: Any) -> Payload:
    name, _, rest = place.partition(".")
    inner = payload.get(name)
    return {
        **payload,
        name: _with_inner_value(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value,
    }


def as_parts(model: type[Secrets], payload: Mapping[str, Any]) -> Payload:
    """`payload` with a url replaced by the parts that it stands for."""
    grammar = model.connectory_url
    if grammar is None or URL_FIELD not in payload:
        return dict(payload)
    rest = {name: value for name, value in payload.items() if name != URL_FIELD}
    return rest | grammar.parse(payload[URL_FIELD])


def with_markers(
    model: type[Secrets], schema: Mapping[str, Any], payload: Mapping[str, Any]
) -> tuple[Payload, dict[str, str]]:
    """`payload` with a unique text in every sensitive place that takes one, and every sensitive text that it then holds.

    Returns:
        The secrets, and for each sensitive text the field that holds it.
    """
    marked = as_parts(model, payload)
    sensitive = {place for place, found in properties_at_every_depth(dict(schema)) if found.get("sensitive")}
    for place in text_places(schema):
        covered = any(place == name or place.startswith(f"{name}.") for name in sensitive)
        candidate = {**marked, **with_value(model, marked, place, f"Zq{uuid4().hex}")}
        if covered and place != URL_FIELD and is_accepted(model, candidate):
            marked = candidate
    fields = {
        text: name
        for name, value in secrets_document(model, marked).items()
        for text in sensitive_texts(model, {name: value})
        if len(text) >= TELLING
    }
    return marked, fields


def submissions(schema: Mapping[str, Any], seeds: Iterable[Mapping[str, Any]]) -> st.SearchStrategy[Payload]:
    """Secrets between right and wrong: `seeds` with fields left out, replaced and added.

    Neither of the two leniencies of validation occurs in them: no null, and no decimal string for an integer.
    """
    properties: Mapping[str, Mapping[str, Any]] = schema["properties"]
    seeds = list(seeds)
    known = {name: [seed[name] for seed in seeds if name in seed] for name in properties}
    fields = {name: _values(found, known[name]) for name, found in properties.items()}
    changes = st.fixed_dictionaries({}, optional=fields)
    unknown = st.sampled_from([{}, {}, {}, {"connectory_unknown_field": "x"}])

    def assemble(seed: Mapping[str, Any], left_out: set[str], changed: Payload, extra: Payload) -> Payload:
        kept = {name: value for name, value in seed.items() if name not in left_out}
        return kept | changed | extra

    names = st.sets(st.sampled_from(sorted(fields)), max_size=2) if fields else st.just(set[str]())
    one_change = st.one_of(st.just({}), *(st.fixed_dictionaries({name: value}) for name, value in fields.items()))
    mixtures = st.builds(
        assemble, st.sampled_from([*seeds, {}]), names, st.one_of(one_change, one_change, changes), unknown
    )
    # Most mixtures are refused for several reasons; a rule that only one side has shows where nothing else is wrong.
    near_misses = st.builds(lambda seed, changed: dict(seed) | changed, st.sampled_from(seeds), one_change)
    return st.one_of(mixtures, near_misses)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_WORDS = st.text("abcXYZ019_.-", min_size=1, max_size=20)
_NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans())


def _values(schema: Mapping[str, Any], known: list[Any]) -> st.SearchStrategy[Any]:
    """Values for one property, right and wrong."""
    samples = known + [schema[key] for key in ("default", "const") if key in schema] + list(schema.get("enum", []))
    chosen: list[st.SearchStrategy[Any]] = [st.sampled_from(samples)] if samples else []
    kind = schema.get("type")
    if kind == "string":
        chosen += [_TEXT, _WORDS]
        chosen += [_damaged(sample) for sample in samples if isinstance(sample, str)]
        chosen += [st.just("a" * (schema["maxLength"] + change)) for change in (0, 1) if "maxLength" in schema]
    elif kind in {"integer", "number"}:
        edges = [schema[key] + change for key in ("minimum", "maximum") if key in schema for change in (-1, 0, 1)]
        chosen += [_NUMBERS, *([st.sampled_from(edges)] if edges else [])]
    elif kind == "boolean":
        chosen.append(st.booleans())
    elif kind == "array":
        chosen.append(st.lists(_values(schema.get("items", {}), []), max_size=3))
    elif kind == "object":
        inner = {
            name: _values(found, [sample[name] for sample in samples if isinstance(sample, Mapping) and name in sample])
            for name, found in schema.get("properties", {}).items()
        }
        chosen += [st.fixed_dictionaries(inner), st.fixed_dictionaries({}, optional=inner)]
    not_numbers = _TEXT.filter(lambda text: not re.fullmatch(r"-?[0-9]+", text))
    wrong: st.SearchStrategy[Any] = st.one_of(not_numbers, _NUMBERS, st.just([]), st.just({}))
    return st.one_of(*chosen, *chosen, wrong)


def _damaged(sample: str) -> st.SearchStrategy[str]:
    """`sample` with a character more or less somewhere."""

    def damage(at: int, gone: int, more: str) -> str:
        return sample[:at] + more + sample[at + gone :]

    more = st.sampled_from(["", "\0", "\n", " ", "@", "/", ":", "%", "?", "#", "x", "\u00e9"])
    return st.builds(damage, st.integers(0, len(sample)), st.integers(0, 1), more)
