"""What is true of every connector that takes a url, as a class to derive from:

class TestUrl(UrlProperties):
    model = MySQLSecrets
"""

import re
from functools import cache
from typing import Any, ClassVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectory import Secrets, UrlGrammar
from connectory.contract.fields import HOST_PATTERN
from connectory.contract.secrets import required_fields
from connectory.documents.json_schema import secret_json_schema
from connectory.documents.validation import SecretsInvalid, parse_secrets

_NOISE = ["%00", "%0a", "%", "@", ":", "/", "?", "&", "=", ";", "#", "\\", "\0", "\n", " ", "[", "]", "host=elsewhere"]

_labels = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?", fullmatch=True)
_hosts = st.one_of(
    st.lists(_labels, min_size=1, max_size=3).map(".".join).filter(lambda name: re.fullmatch(HOST_PATTERN, name)),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str),
)
# One test function serves every derived class, which Hypothesis would take for a mistake.
_shared = settings(suppress_health_check=[HealthCheck.differing_executors], deadline=None)


@cache  # Hypothesis makes a strategy of a pattern, which takes a tenth of a second
def _texts_of(model: type[Secrets], field: str) -> st.SearchStrategy[str]:
    """Texts that the field takes, by what its schema says."""
    found = secret_json_schema(model, "any", "Any")["properties"][field]
    if "enum" in found:
        return st.sampled_from(found["enum"])
    characters = st.characters(exclude_categories=["Cs", "Cc"])
    return st.text(characters, min_size=1, max_size=min(found["maxLength"], 30)).filter(
        re.compile(found["pattern"]).fullmatch
    )


@st.composite
def _parts(draw: Any, model: type[Secrets], grammar: UrlGrammar) -> dict[str, Any]:
    """Parts that a url of this grammar can hold; a password only beside its user."""
    fields: dict[str, st.SearchStrategy[Any]] = {grammar.host: _hosts}
    fields |= {name: _texts_of(model, name) for name in (grammar.username, *grammar.path) if name}
    if grammar.port:
        fields[grammar.port] = st.integers(1, 65535)
    for meaning in grammar.query.values():
        if isinstance(meaning, str):
            fields[meaning] = _texts_of(model, meaning)
        elif meaning.field and meaning.values:
            fields[meaning.field] = st.sampled_from(list(meaning.values.values()))
    needed = grammar.required | grammar.required_parts | {grammar.host} | required_fields(model)
    parts = draw(
        st.fixed_dictionaries(
            {name: strategy for name, strategy in fields.items() if name in needed},
            optional={name: strategy for name, strategy in fields.items() if name not in needed},
        )
    )
    if grammar.username in parts and grammar.password and (grammar.password in needed or draw(st.booleans())):
        parts[grammar.password] = draw(_texts_of(model, grammar.password))
    # A later segment of a path cannot stand without the one before it.
    for earlier, later in zip(grammar.path, grammar.path[1:], strict=False):
        if earlier not in parts:
            parts.pop(later, None)
    return parts


class UrlProperties:
    """Derive from it, and set `model` to a secrets class with a `connectory_url`."""

    model: ClassVar[type[Secrets]]

    @_shared
    @given(st.data())
    def test_a_url_and_the_parts_that_it_stands_for_are_the_same_secrets(self, data):
        grammar = self.model.connectory_url
        parts = data.draw(_parts(self.model, grammar))
        assert parse_secrets(self.model, {"url": grammar.render(parts)}) == parse_secrets(self.model, parts)

    @_shared
    @given(st.data())
    def test_a_mutated_url_is_refused_or_gives_nothing_but_vetted_fields(self, data):
        grammar = self.model.connectory_url
        url = grammar.render(data.draw(_parts(self.model, grammar)))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(url)))
            noise = data.draw(st.one_of(st.text(max_size=3), st.sampled_from(_NOISE)))
            url = url[:at] + noise + url[at + data.draw(st.integers(0, 2)) :]
        try:
            secrets = parse_secrets(self.model, {"url": url})
        except SecretsInvalid:
            return
        given_fields = secrets.model_dump(mode="json", exclude_unset=True) | {
            name: value.get_secret_value()
            for name in secrets.model_fields_set
            if hasattr(value := getattr(secrets, name), "get_secret_value")
        }
        assert set(given_fields) <= grammar.fields | set(grammar.query_keys)
        assert re.fullmatch(HOST_PATTERN, given_fields[grammar.host])
        assert not any(re.search(r"[\x00-\x1f\x7f]", str(value)) for value in given_fields.values())
