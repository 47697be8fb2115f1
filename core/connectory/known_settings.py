"""What settings there are, of the service and of plugins: to list them, and to tell of names that are none."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from connectory.catalog.catalog import Catalog
from connectory.contract.settings import PREFIX, environment_name
from connectory.settings import Settings, without_password


def unknown_settings(environment: Mapping[str, str], catalog: Catalog, of_others: tuple[str, ...] = ()) -> list[str]:
    """A line for each variable of `environment` that looks like a setting and is none, with the nearest that there is.

    Args:
        of_others: how the names begin of settings that something else reads.
    """
    others = not_of_the_service(environment)
    unknown = [name for name in others if name not in catalog.variables and not name.startswith(of_others)]
    known = [name.removeprefix(PREFIX) for name in sorted(_own_variables() | catalog.variables)]
    return [_unknown(name, known) for name in unknown]


def not_of_the_service(environment: Mapping[str, str]) -> list[str]:
    """The variables of `environment` that are settings of plugins, or of nobody."""
    own = _own_variables()
    return [name for name in sorted(environment) if name.startswith(PREFIX) and name not in own]


def _own_variables() -> set[str]:
    return {environment_name(name) for name in Settings.model_fields}


def _unknown(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.removeprefix(PREFIX), known, n=1)
    remedy = f"did you mean {PREFIX}{close[0]}?" if close else "`connectory settings` lists what there is."
    return f"{name} is not a setting of the service or of a loaded plugin, and does nothing; {remedy}"


class SettingRow(NamedTuple):
    """One setting, as `connectory settings` shows it.

    Attributes:
        value: what is set, or the default.
        origin: `environment` or `default`.
        in_force: what holds; where nothing is set it may follow from other settings.
    """

    name: str
    value: str
    origin: str
    in_force: str
    default: str
    description: str


_DERIVED = {"database_url": "store_shown", "keys_file": "keys_path", "egress_allow_loopback": "loopback_allowed"}
"""Of settings whose default follows from others, the property that tells what is in force."""


def describe_settings(settings: Settings, catalog: Catalog) -> list[SettingRow]:
    """Every setting of the service, then those that the loaded plugins declare. The database's password is masked."""
    rows = [_row(settings, name, field, "") for name, field in Settings.model_fields.items()]
    declared: dict[str, SettingRow] = {}
    for connector in catalog.connectors.values():
        model = connector.plugin().settings if connector.settings_values is not None else None
        for name, field in type(model).model_fields.items() if model is not None else ():
            declared[name] = _row(model, name, field, f"Setting of {connector.record.distribution}.")
    return rows + [declared[name] for name in sorted(declared)]


def changed_settings(settings: Settings, catalog: Catalog, environment: Mapping[str, str]) -> dict[str, str]:
    """What differs from the defaults, by name, for the audit trail: nothing secret, and of plugins' settings the names only.

    Args:
        environment: where plugins read theirs. What a plugin takes for a secret is not known before it is imported.
    """
    rows = (_row(settings, name, field, "") for name, field in Settings.model_fields.items())
    own = {row.name: _without_credentials(row.value) for row in rows if row.value != row.default}
    return own | {name: "set" for name in not_of_the_service(environment) if name in catalog.variables}


def _without_credentials(value: str) -> str:
    return without_password(value) if "://" in value else value


def _row(model: Any, name: str, field: FieldInfo, otherwise: str) -> SettingRow:
    return SettingRow(
        name=environment_name(name),
        value=_shown(getattr(model, name)),
        origin="environment" if name in model.model_fields_set else "default",
        in_force=_shown(getattr(model, _DERIVED.get(name, name) if isinstance(model, Settings) else name)),
        default=_shown(field.default),
        description=field.description or otherwise,
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return without_password(value.get_secret_value())
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return json.dumps(dict(value)) if value else ""
    return str(value)
