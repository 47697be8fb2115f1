"""Secrets: the fields a connection needs, and which of them are sensitive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from connectory.contract.urls import UrlGrammar, UrlInvalid

URL_FIELD = "url"

URL_MAX_LENGTH = 2048


class Secrets(BaseModel):
    """Base of every secret schema. Declare the fields with the types of this package, in the order to show them.

    A field is sensitive when its type is: `SecretText`, `SecretStr` at any depth, or a model derived from `SecretGroup`.
    Of a single nested `Secrets` object only its own sensitive fields are; a list or any other holder of sensitive values
    is sensitive as a whole.
    Unknown fields are refused. Values are not coerced, with two leniencies: `null` means absent, and a decimal string is
    taken for an integer.

    A class that declares `connectory_url` also accepts one `url` instead of the parts that the grammar names, never both.
    Once validated, an instance always has the parts.

    >>> from connectory import Host, Port, Secrets, SecretText
    >>> from connectory.documents.validation import parse_secrets
    >>> class LedgerSecrets(Secrets):
    ...     host: Host
    ...     port: Port = 7000
    ...     token: SecretText
    >>> parse_secrets(LedgerSecrets, {"host": "ledger.example", "token": "abc"}).port
    7000
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    connectory_url: ClassVar[UrlGrammar | None] = None
    """The grammar of the `url` that is accepted instead of the parts. Default: no url."""

    connectory_exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of optional fields, such as `("password", "private_key")`: of each, exactly one must be given, be it in a url
    (there, only its password and its query count). Default: none."""

    connectory_plain_properties: ClassVar[bool] = False
    """Whether the JSON Schema keeps the properties of texts to title, type and default, as older consumers know them, and says
    in a top-level `allOf` what the texts may hold. Default: each property says so itself."""

    @model_validator(mode="before")
    @classmethod
    def _absent_and_url(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise PydanticCustomError("dict_type", "The secrets must be a JSON object.")
        parts = cls._with_parts_of_url({name: value for name, value in data.items() if value is not None})
        for group in cls.connectory_exactly_one:
            if sum(name in parts for name in group) != 1:
                raise PydanticCustomError("exactly_one", "Must be supplied exactly one of: " + ", ".join(group))
        return parts

    @classmethod
    def _with_parts_of_url(cls, given: dict[str, Any]) -> dict[str, Any]:
        grammar = cls.connectory_url
        if grammar is None or URL_FIELD not in given:
            if grammar is not None and (lacking := (grammar.required | grammar.required_parts) - given.keys()):
                missing = ", ".join(sorted(lacking))
                raise PydanticCustomError("missing_parts", "Must be supplied a 'url' or all of: [" + missing + "].")
            return given
        url = given.pop(URL_FIELD)
        if isinstance(url, SecretStr):
            url = url.get_secret_value()
        both = sorted(grammar.fields & given.keys())
        if both:
            raise PydanticCustomError(
                "url_and_parts", "Must be supplied a 'url' or the parts, not both: " + ", ".join(both)
            )
        if not isinstance(url, str) or not 1 <= len(url) <= URL_MAX_LENGTH:
            raise PydanticCustomError("url_invalid", f"The url must be a string of 1 to {URL_MAX_LENGTH} characters.")
        try:
            parts = grammar.parse(url)
        except UrlInvalid as problem:
            raise PydanticCustomError("url_invalid", str(problem)) from None
        twice = sorted(parts.keys() & given.keys())
        if twice:
            raise PydanticCustomError("url_and_parts", "Stands in the url's query too: " + ", ".join(twice))
        return given | parts


class SecretGroup(Secrets):
    """A nested object that is sensitive as a whole, such as the content of a key file."""
