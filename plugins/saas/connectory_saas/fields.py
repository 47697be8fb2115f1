"""The secrets of a definition as a class of `Secrets`, and an instance of it as plain texts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SecretStr, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from connectory import Endpoint, Secrets, Text
from connectory.toolkit import Role
from connectory_saas.definition import Definition, SecretField
from connectory_saas.settings import LOOPBACK_PATTERN
from connectory_saas.templates import names_in

# Printable ASCII without spaces at its ends: whatever a definition makes of a value, it ends no header and starts no other
# (RFC 9110 §5.5). `.` and `..` alone would be steps in a path.
_ASCII = r"(?!\.\.?$)[!-~](?:[ -~]*[!-~])?"
_NO_SPACE = r"(?!\.\.?$)[!-~]+"
_ONLY_ASCII = r"(?![ -~]*[^ -~])"

_LABEL_TAIL = r"(?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_LABEL = rf"[A-Za-z0-9]{_LABEL_TAIL}"
# At least two labels, the last of which begins with a letter, so that it is not an address.
_ANY_NAME = rf"(?:{_LABEL}\.)+[A-Za-z]{_LABEL_TAIL}"

# Encrypted, or to this machine: RFC 8252 §7.3 lets a native client have its code sent to loopback.
_REDIRECT = (
    rf"http(?:s:\/\/{_ANY_NAME}|:\/\/(?:localhost|127\.0\.0\.1|\[::1\]))(?::[1-9][0-9]{{0,4}})?\/[A-Za-z0-9._~\/%\-]*"
)


class SaasSecrets(Secrets):
    """Base of all of them."""

    connectory_plain_properties: ClassVar[bool] = True


def secrets_model(definition: Definition, *, loopback: bool) -> type[SaasSecrets]:
    """The class for the secrets of `definition`.

    Args:
        loopback: whether fields that hold a host also accept `127.0.0.1:PORT`.
    """
    fields: dict[str, Any] = {}
    asking = _names_of_who_asks(definition)
    for name, found in definition.secrets.items():
        required = found.default is None and not found.optional
        default: Any = {} if required else {"default": found.default}
        accepted = _type(found, loopback=loopback)
        if name in asking and found.hosts is None and not found.url:
            accepted = Annotated[accepted, Role("credential")]
        fields[name] = (
            accepted | None if found.optional else accepted,
            Field(title=found.title, description=found.description, **default),
        )
    model: type[SaasSecrets] = create_model(
        f"{definition.identifier.title().replace('_', '')}Secrets", __base__=SaasSecrets, __module__=__name__, **fields
    )
    return model


def plain_values(secrets: Secrets) -> dict[str, str]:
    """The secrets as plain text, by name; those that were left out are missing."""
    values = {name: getattr(secrets, name) for name in type(secrets).model_fields}
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _names_of_who_asks(definition: Definition) -> set[str]:
    """The secrets that authorize requests, ids of clients and organizations among them."""
    auths = [definition.auth, *(request.auth for request in definition.test if request.auth is not None)]
    members = [member for auth in auths for member in auth.model_dump().values()]
    texts = [text for member in members for text in (member.values() if isinstance(member, dict) else [member])]
    return {name for text in texts if isinstance(text, str) for name in names_in(text)}


def _type(found: SecretField, *, loopback: bool) -> Any:
    if found.options is not None:
        return _one_of(found.options)
    if found.hosts is not None:
        return Annotated[str, _host(found.hosts, loopback=loopback), Endpoint()]
    if found.url:
        expected = "an https url without user, query and fragment (http for localhost only)"
        return Annotated[str, Text(expected, max_length=2048, pattern=_REDIRECT), Endpoint(), Role("other")]
    if found.pattern is not None:
        text = Text(found.expected or "", max_length=4096, pattern=_ONLY_ASCII + f"(?:{found.pattern})")
    elif found.sensitive:
        text = Text("printable ASCII characters without spaces", max_length=4096, pattern=_NO_SPACE)
    else:
        text = Text("printable ASCII characters, no space first or last", pattern=_ASCII)
    return Annotated[SecretStr if found.sensitive else str, text]


def _one_of(options: tuple[str, ...]) -> Any:
    def check(value: Any) -> Any:
        if value not in options:
            raise PydanticCustomError("enum", "Must be one of: {options}.", {"options": ", ".join(options)})
        return value

    return Annotated[str, BeforeValidator(check), WithJsonSchema({"type": "string", "enum": list(options)})]


def _host(rules: tuple[str, ...], *, loopback: bool) -> Text:
    names = ", ".join(rule.replace("**", "any host name") for rule in rules)
    pattern = _host_pattern(rules) + (f"|{LOOPBACK_PATTERN}" if loopback else "")
    return Text(f"a host without scheme, path and user: {names}", max_length=253, pattern=pattern)


def _host_pattern(rules: tuple[str, ...]) -> str:
    """A pattern for the hosts of all rules; what several begin with, a first label or `**`, stands in it once."""
    rests: dict[str, list[str]] = {}
    for rule in rules:
        first = "**" if rule.startswith("**") else rule.partition(".")[0]
        rest = rule.removeprefix(first).replace(".", r"\.").replace("*", _LABEL)
        rests.setdefault(first, []).append(rest)
    wild = {"**": _ANY_NAME, "*": _LABEL}
    return "|".join(wild.get(first, first) + _any_of(some) for first, some in rests.items())


def _any_of(patterns: list[str]) -> str:
    return patterns[0] if len(patterns) == 1 else f"(?:{'|'.join(patterns)})"
