"""The secrets of a definition as a class of `Secrets`, and an instance of it as plain texts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SecretStr, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from connectory import Endpoint, Grammar, Secrets
from connectory_saas.definition import Definition, SecretField
from connectory_saas.settings import LOOPBACK_PATTERN

# Printable ASCII without spaces at its ends: whatever a definition makes of a value, it ends no header and starts no other
# (RFC 9110 §5.5). `.` and `..` alone would be steps in a path.
_ASCII = r"(?!\.\.?$)[!-~](?:[ -~]*[!-~])?"
_NO_SPACE = r"(?!\.\.?$)[!-~]+"
_ONLY_ASCII = r"(?![ -~]*[^ -~])"

_WILD_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# At least two labels, the last of which begins with a letter and so is no address.
_ANY_NAME = rf"(?:{_WILD_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?"

_PORT = r"(?::[1-9][0-9]{0,4})?"
# Encrypted, or to this machine: RFC 8252 §7.3 lets a native client have its code sent to loopback.
_REDIRECT = rf"(?:https://{_ANY_NAME}{_PORT}|http://(?:localhost|127\.0\.0\.1|\[::1\]){_PORT})/[A-Za-z0-9._~/%-]*"


class SaasSecrets(Secrets):
    """Base of all of them."""

    connectory_plain_properties: ClassVar[bool] = True


def secrets_model(definition: Definition, *, loopback: bool) -> type[Secrets]:
    """The class for the secrets of `definition`.

    Args:
        loopback: whether fields that hold a host also accept `127.0.0.1:PORT`.
    """
    fields: dict[str, Any] = {}
    for name, found in definition.secrets.items():
        required = found.default is None and not found.optional
        default: Any = {} if required else {"default": found.default}
        accepted = _type(found, loopback=loopback)
        fields[name] = (
            accepted | None if found.optional else accepted,
            Field(title=found.title, description=found.description, **default),
        )
    model: type[Secrets] = create_model(
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


def _type(found: SecretField, *, loopback: bool) -> Any:
    if found.options is not None:
        return _one_of(found.options)
    if found.hosts is not None:
        return Annotated[str, _host_grammar(found.hosts, loopback=loopback), Endpoint()]
    if found.url:
        expected = "an https url without user, query and fragment (http for localhost only)"
        return Annotated[str, Grammar(_REDIRECT, expected, 2048), Endpoint()]
    if found.pattern is not None:
        grammar = Grammar(_ONLY_ASCII + f"(?:{found.pattern})", found.expected or "", 4096)
    elif found.sensitive:
        grammar = Grammar(_NO_SPACE, "printable ASCII characters without spaces", 4096)
    else:
        grammar = Grammar(_ASCII, "printable ASCII characters, no space first or last", 1024)
    return Annotated[SecretStr if found.sensitive else str, grammar]


def _one_of(options: tuple[str, ...]) -> Any:
    def check(value: Any) -> Any:
        if value not in options:
            raise PydanticCustomError("enum", "Must be one of: {options}.", {"options": ", ".join(options)})
        return value

    return Annotated[str, BeforeValidator(check), WithJsonSchema({"type": "string", "enum": list(options)})]


def _host_grammar(rules: tuple[str, ...], *, loopback: bool) -> Grammar:
    patterns = [_host_pattern(rule) for rule in rules] + ([LOOPBACK_PATTERN] if loopback else [])
    names = ", ".join("any host name" if rule == "**" else rule for rule in rules)
    expected = f"a host without scheme, path and user: {names}"
    return Grammar("|".join(f"(?:{pattern})" for pattern in patterns), expected, max_length=253)


def _host_pattern(rule: str) -> str:
    name, colon, port = rule.partition(":")
    pattern = _ANY_NAME if name == "**" else r"\.".join(map(_label_pattern, name.split(".")))
    return pattern + colon + port


def _label_pattern(label: str) -> str:
    return _WILD_LABEL if label == "*" else label
