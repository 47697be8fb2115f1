"""Settings that a plugin asks of the deployer, never of a connection; and what both its settings and the service's share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


class DeployerSettings(BaseModel):
    """Base of what `connectory_settings` returns: values that only the deployer can set, from the environment.

    The field `snowflake_endpoint` is read from `CONNECTORY_SNOWFLAKE_ENDPOINT`. Every field needs a default, so that
    a plugin works without being configured; a variable that is set but empty counts as unset. Values are text; declare a
    type that pydantic reads from text. They are no place for secrets: they are shown by `connectory settings`.

    Where a value does not fit, the deployer is told what the field takes, from its type and its limits, and its description.
    A validator of your own can say more with a `PydanticCustomError` without context: its message is shown, so it must not
    repeat the value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


SettingsT = TypeVar("SettingsT", bound=DeployerSettings)

PREFIX = "CONNECTORY_"
"""What the environment variable of every setting begins with."""


def environment_name(field: str) -> str:
    """The environment variable of a setting's field: `snowflake_endpoint` is `CONNECTORY_SNOWFLAKE_ENDPOINT`."""
    return PREFIX + field.upper()


def _refuse_empty(value: Any) -> Any:
    if _is_empty(value):
        raise PydanticCustomError("set_but_empty", "It is set but empty; give it a value, or unset it.")
    return value


REFUSES_EMPTY = BeforeValidator(_refuse_empty)
"""Metadata of a field that decides where data goes: set but empty, it is refused, while any other counts as unset."""


def read_settings(model: type[SettingsT], environment: Mapping[str, str]) -> SettingsT:
    """Read `model` from `environment`.

    Raises:
        pydantic.ValidationError: a value does not fit its field.
    """
    variables = {name: environment_name(name) for name in model.model_fields}
    given = {name: environment[variable] for name, variable in variables.items() if variable in environment}
    return model.model_validate(without_empty(model, given))


def without_empty(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `given` without those that are empty, except where the field refuses an empty one."""
    return {
        name: value
        for name, value in given.items()
        if not _is_empty(value) or (name in model.model_fields and REFUSES_EMPTY in model.model_fields[name].metadata)
    }


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()
