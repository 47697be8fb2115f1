"""Settings that a plugin asks of the deployer, never of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict


class DeployerSettings(BaseModel):
    """Base of what `connectory_settings` returns: values that only the deployer can set, from the environment.

    The field `snowflake_endpoint` is read from `CONNECTORY_SNOWFLAKE_ENDPOINT`. Every field needs a default, so that
    a plugin works without being configured. Values are text; declare a type that pydantic reads from text. They are
    no place for secrets: they are shown by `connectory settings`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


SettingsT = TypeVar("SettingsT", bound=DeployerSettings)


def environment_name(field: str) -> str:
    """The environment variable of a setting's field: `snowflake_endpoint` is `CONNECTORY_SNOWFLAKE_ENDPOINT`."""
    return "CONNECTORY_" + field.upper()


def read_settings(model: type[SettingsT], environment: Mapping[str, str]) -> SettingsT:
    """Read `model` from `environment`.

    Raises:
        pydantic.ValidationError: a value does not fit its field.
    """
    variables = {name: environment_name(name) for name in model.model_fields}
    given = {name: environment[variable] for name, variable in variables.items() if variable in environment}
    return model.model_validate(given)
