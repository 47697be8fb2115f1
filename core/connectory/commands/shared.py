"""What every module of commands needs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from connectory.catalog.catalog import Catalog
    from connectory.catalog.survey import Survey
    from connectory.settings import Settings
    from connectory.store.audit import Actor

JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class CommandFailed(Exception):
    """A command cannot do what it was asked; the message is one line."""


def told() -> tuple[type[Exception], ...]:
    """The exceptions whose text is a line for whoever runs the command."""
    from connectory.catalog.survey import ConnectorLost, SurveyFailed
    from connectory.settings import SettingsInvalid
    from connectory.startup import CannotStart
    from connectory.store.errors import SchemaUnknown, StoreFailed, StoreUnavailable
    from connectory.vault import EnvelopeUnreadable, KeyRingInvalid

    return (
        CommandFailed,
        SettingsInvalid,
        SurveyFailed,
        ConnectorLost,
        CannotStart,
        SchemaUnknown,
        StoreFailed,
        StoreUnavailable,
        EnvelopeUnreadable,
        KeyRingInvalid,
    )


def lines_of(error: Exception) -> str:
    """What to print of an exception of `told`: a line, or one for each setting that is wrong."""
    from connectory.settings import SettingsInvalid

    lines = error.problems if isinstance(error, SettingsInvalid) else [str(error)]
    return "\n".join(line.replace("\n", " ") for line in lines)


def settings_now(**overrides: Any) -> Settings:
    """The settings of the environment; `overrides` win over it."""
    from connectory.settings import read_settings

    return read_settings(**overrides)


def survey_of(settings: Settings) -> Survey:
    """A survey of the installed plugins, under way."""
    from connectory.catalog.survey import Survey

    return Survey(settings.selection)


@cache
def catalog_now() -> Catalog:
    """What is installed, and the settings of the environment allow."""
    with survey_of(settings_now()) as survey:
        return survey.catalog()


def acting(command: str) -> Actor:
    """Whom the audit trail names for what a command does: the command, and the account that runs it."""
    import os
    import pwd

    from connectory.store.audit import Actor

    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container that runs under any number
        user = str(os.getuid())
    return Actor(command, user=user)


def warn(text: str) -> None:
    """Say on standard error what does not keep a command from doing what it was asked."""
    typer.echo(f"Warning: {text}", err=True)
