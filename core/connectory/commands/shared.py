"""What every module of commands needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from connectory.settings import Settings

JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class CommandFailed(Exception):
    """A command cannot do what it was asked; the message is one line."""


def settings_now(**overrides: Any) -> Settings:
    """The settings of the environment; `overrides` win over it."""
    from connectory.settings import read_settings

    return read_settings(**overrides)


def warn(text: str) -> None:
    """Say on standard error what does not keep a command from doing what it was asked."""
    typer.echo(f"Warning: {text}", err=True)
