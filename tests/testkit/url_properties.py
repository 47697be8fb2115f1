"""What is true of every connector that takes a url, as a class to derive from:

class TestUrl(UrlProperties):
    model = MySQLSecrets
"""

import re
from typing import Any, ClassVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectory import QueryKey, Secrets, UrlGrammar, UrlText
from connectory.contract.fields import HOST_PATTERN
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


def _texts_of(grammar: UrlGrammar, field: str) -> st.SearchStrategy[str]:
    limit = grammar.texts.get(field, UrlText(30))
    characters = st.characters(
        exclude_categories=["Cs", "Cc"],
        exclude_characters=limit.without,
        max_codepoint=0xFFFF if limit.basic_plane else None,
    )
    return st.text(characters, min_size=1, max_size=min(limit.max_length, 30))


@st.composite
def _parts(draw: Any, grammar: UrlGrammar) -> dict[str, Any]:
    """Parts that a url of this grammar can hold; a password only beside its user."""
    fields: dict[str, st.SearchStrategy[Any]] = {grammar.host: _hosts}
    fields |= {name: _texts_of(grammar, name) for name in (grammar.username, *grammar.path) if name}
    if grammar.port:
        fields[grammar.port] = st.integers(1, 65535)
    for meaning in grammar.query.values():
        if isinstance(meaning, str):
            fields[meaning] = _texts_of(grammar, meaning)
        elif isinstance(meaning, QueryKey) and meaning.field and meaning.values:
            fields[meaning.field] = st.sampled_from(list(meaning.values.values()))
    needed = grammar.required | grammar.required_parts | {grammar.host}
    parts = draw(
        st.fixed_dictionaries(
            {name: strategy for name, strategy in fields.items() if name in needed},
            optional={name: strategy for name, strategy in fields.items() if name not in needed},
        )
    )
    if grammar.username in parts and grammar.password and (grammar.password in needed or draw(st.booleans())):
        parts[grammar.password] = draw(_texts_of(grammar, grammar.password))
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
        parts = data.draw(_parts(grammar))
        assert parse_secrets(self.model, {"url": grammar.render(parts)}) == parse_secrets(self.model, parts)

    @_shared
    @given(st.data())
    def test_a_mutated_url_is_refused_or_gives_nothing_but_vetted_fields(self, data):
        grammar = self.model.connectory_url
        url = grammar.render(data.draw(_parts(grammar)))
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
