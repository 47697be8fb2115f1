"""`connectory new-plugin`, `check`, `schema`, `check-plugin`: listed here beside the others; `connectory.authoring` runs them."""

from __future__ import annotations

import typer

from connectory.authoring import COMMANDS, run

# Every argument is theirs to read, `--help` too.
_THEIRS = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for name, about in COMMANDS.items():
        app.command(name, help=about, context_settings=_THEIRS)(_run)


def _run(context: typer.Context) -> None:
    raise typer.Exit(run([context.info_name or "", *context.args]))
