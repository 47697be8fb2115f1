"""Field types for secrets. Each carries one grammar that both the validator and the JSON Schema use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    Strict,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

# One label of a host name. RFC 1123 §2.1, and `_`, which container names and service records hold.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4_PATTERN = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
"""Four decimal octets without leading zeros; `127.1`, `0x7f.1` and `0177.0.0.1` are spellings that resolvers accept
and checks miss, so they are not addresses here."""
_H = r"[0-9A-Fa-f]{1,4}"
IPV6_PATTERN = (
    rf"(?:(?:{_H}:){{7}}{_H}|(?:{_H}:){{1,7}}:|(?:{_H}:){{1,6}}:{_H}|(?:{_H}:){{1,5}}(?::{_H}){{1,2}}"
    rf"|(?:{_H}:){{1,4}}(?::{_H}){{1,3}}|(?:{_H}:){{1,3}}(?::{_H}){{1,4}}|(?:{_H}:){{1,2}}(?::{_H}){{1,5}}"
    rf"|{_H}:(?::{_H}){{1,6}}|:(?::{_H}){{1,7}}|::)"
)
"""An IPv6 address as RFC 4291 §2.2 writes it, without a zone and without a dotted tail."""
HOSTNAME_PATTERN = rf"(?=[A-Za-z0-9_.-]{{1,253}}(?:$|[:/?]))(?:{_LABEL}\.)*(?!0[xX])(?![0-9]+(?:$|[:/?])){_LABEL}"
"""A host name of at most 253 characters whose last label is not a number, so that it cannot be read as an address."""
HOST_PATTERN = rf"(?:{HOSTNAME_PATTERN}|{IPV4_PATTERN}|{IPV6_PATTERN}|\[{IPV6_PATTERN}\])"

TEXT_PATTERN = r"[^\x00-\x1f\x7f]*"
"""Any text without control characters."""

SHOWN_LIMIT = 200
"""Characters of a pattern that a schema shows, `^(?:` and `)$` included: more than that helps nobody who reads it."""

RULE_KEYWORD = "connectory-rule"
"""Where a field's schema keeps the sentence that goes into its description; never part of what consumers read."""


@dataclass(frozen=True)
class Text:
    """What a text field may hold. Annotate `str` or `SecretStr` with it: `Annotated[str, Text("a user name", without=":")]`.

    The validator and the JSON Schema use the same grammar. A pattern that is too long for a schema is left out of it, or
    replaced by `shown`; the field's description then says the rule in words.

    Attributes:
        expected: the rest of the sentence "Must be …", which people read when a value does not fit. The value itself is
            never shown. Default: "text without control characters".
        max_length: most characters. Default 1024.
        min_length: fewest characters. Default 1.
        pattern: a regular expression for the whole value. Write it so that Python and ECMAScript (with the flags `u` and
            `v`) read it alike: in a class, escape `( ) [ ] { } / - \\ |`. Default: anything but control characters.
        without: ASCII characters that may not occur, beside control characters. Not together with `pattern`. Default: none.
        shown: a shorter pattern for the schema, which must accept everything that `pattern` accepts. Default: `pattern`.
    """

    expected: str = "text without control characters"
    max_length: int = field(default=1024, kw_only=True)
    min_length: int = field(default=1, kw_only=True)
    pattern: str = field(default=TEXT_PATTERN, kw_only=True)
    without: str = field(default="", kw_only=True)
    shown: str | None = field(default=None, kw_only=True)

    @cached_property
    def whole_pattern(self) -> str:
        """`pattern`, or what `without` makes of it."""
        return rf"[^\x00-\x1f\x7f{_in_class(self.without)}]*" if self.without else self.pattern

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.whole_pattern)

    def check(self, value: Any) -> Any:
        """Return `value` unchanged, or raise a validation error that says what was expected and does not repeat it."""
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            raise PydanticCustomError("string_type", "Must be a string.")
        if not self.min_length <= len(text) <= self.max_length:
            raise PydanticCustomError("string_length", f"Must have {self.min_length} to {self.max_length} characters.")
        if not self._compiled.fullmatch(text) or not (text.isascii() or _without_surrogate(text)):
            raise PydanticCustomError("string_pattern_mismatch", f"Must be {self.expected}.")
        return value

    def limits(self) -> dict[str, Any]:
        """What the JSON Schema says of the text."""
        limits: dict[str, Any] = {"minLength": self.min_length, "maxLength": self.max_length}
        shown = f"^(?:{self.shown if self.shown is not None else self.whole_pattern})$"
        if len(shown) <= SHOWN_LIMIT:
            limits["pattern"] = shown
        if self.shown is not None or len(shown) > SHOWN_LIMIT:
            limits[RULE_KEYWORD] = f"Must be {self.expected}."
        return limits

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | self.limits()


def _in_class(characters: str) -> str:
    """`characters` as they stand in a class of a regular expression, in Python and in ECMAScript with either flag."""
    return "".join(f"\\{character}" if character in r"()[]{}/-\|^$.*+?" else character for character in characters)


def _without_surrogate(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(frozen=True)
class Endpoint:
    """Marks a field that decides where, or how safely, the secrets are sent.

    When such a field changes, every stored sensitive value must be sent again: otherwise whoever may edit a
    connection could have its password delivered to a host of their own.
    """


RoleName: TypeAlias = Literal["endpoint", "tls", "credential", "database", "other"]
"""What a field is for: where the far end is, how the way there is protected, who asks, what is opened there, or what else."""


@dataclass(frozen=True)
class Role:
    """Says what a field is for, where its type and its name do not: `Annotated[Name | None, Role("database")]`.

    When a test fails, the answer names the fields of the role that its code is about. Without this mark, certificates and TLS
    modes are `tls`, what is marked `Endpoint` is `endpoint`, what is sensitive `credential`; the parts that a url has for user
    and path are `credential` and `database`, and so are names such as `username`, `client_id`, `dbname` and `db_schema`.

    Args:
        name: `endpoint`, `tls`, `credential`, `database`, or `other`, which no failure names.
    """

    name: RoleName


@dataclass(frozen=True)
class Public:
    """Marks a field that everybody may see although it is named like a secret, such as `access_key_id`.

    Without it the conformance kit wants a sensitive type for such a field.

    Args:
        reason: why it is not a secret, for whoever reads the declaration.
    """

    reason: str


def _unbracket(value: str) -> str:
    return value[1:-1] if value.startswith("[") else value


def decimal(value: Any) -> Any:
    """Take a decimal string, and a float without a fraction (JSON Schema's integers hold 5432.0), for the integer it writes."""
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


Integer = Annotated[int, Strict(), BeforeValidator(decimal)]
"""An integer that takes a decimal string wherever it stands; plain `int` does as a field of `Secrets`."""

Port = Annotated[Integer, Field(ge=1, le=65535), Endpoint()]
"""A TCP port, 1 to 65535."""

Host = Annotated[
    str,
    AfterValidator(_unbracket),
    Text(
        "a host name or an IP address, without scheme, port, path or credentials",
        max_length=255,
        pattern=HOST_PATTERN,
        shown=r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,251}[A-Za-z0-9_])?|\[?[0-9A-Fa-f:]{2,39}\]?",
    ),
    Endpoint(),
]
"""A host name (letters, digits, `-`, `_`; IDNs in their `xn--` form), an IPv4 or an IPv6 address, bracketed or not."""

_PORT_PATTERN = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HttpAddress = Annotated[
    str,
    Text(
        "an address such as https://service.example.com or http://127.0.0.1:9000/path, without credentials and query",
        max_length=500,
        pattern=(
            rf"https?:\/\/(?:{HOSTNAME_PATTERN}|{IPV4_PATTERN}|\[{IPV6_PATTERN}\])(?::{_PORT_PATTERN})?"
            r"(?:\/[A-Za-z0-9._~%\/\-]*)?"
        ),
        shown=r"https?:\/\/[A-Za-z0-9_.:\-\[\]]+(?:\/[A-Za-z0-9._~%\/\-]*)?",
    ),
    Endpoint(),
]
"""An `http` or `https` address with a host, perhaps a port and a path: what `CheckContext.http` takes."""

Name = Annotated[str, Text(max_length=2048)]
"""The name of a user, a database, a schema: 1 to 2048 characters, none of them control characters."""

SecretText = Annotated[SecretStr, Text(max_length=4096)]
"""A sensitive value of 1 to 4096 characters, none of them control characters. Never shown again once stored."""
