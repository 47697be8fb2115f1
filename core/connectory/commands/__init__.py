"""The commands of `connectory`: serve, token, console, client, plugins, dataset, schedule, webhook, history, secrets, keys, db,
settings, audit, egress, and authors'.

Each imports what it needs when it runs, so that none waits for another's packages.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Annotated

import typer

from connectory.checks.linux import hide_memory
from connectory.commands import audit, clients, console, dataset, egress, health, keys, plugin_authors, secrets
from connectory.commands.shared import JSON as _JSON
from connectory.commands.shared import acting, catalog_now, lines_of, survey_of, told
from connectory.commands.shared import settings_now as _settings

app = typer.Typer(
    name="connectory",
    help="Connect a product to other people's databases and services. Settings: `connectory settings`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_database = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)
app.command("token")(clients.token)
app.command("console")(console.console)
app.add_typer(clients.app, name="client")
app.add_typer(secrets.app, name="secrets")
app.add_typer(keys.app, name="keys")
app.add_typer(_database, name="db")
app.add_typer(egress.app, name="egress")
app.add_typer(dataset.app, name="dataset")
app.add_typer(health.schedule, name="schedule")
app.add_typer(health.webhook, name="webhook")
app.command("history")(health.history)
app.command("audit")(audit.show_audit)


def run(arguments: list[str]) -> None:
    """Run one command and end the process.

    What a command cannot do is one line on standard error, a line for each setting that is wrong, and exit code 1.
    """
    hide_memory()  # from connection tests, among others
    try:
        app(args=arguments, prog_name="connectory")
    except Exception as error:
        if not isinstance(error, told()):
            raise
        sys.exit(lines_of(error))


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"connectory {version('connectory')}")
        raise typer.Exit


@app.callback()
def _before_each_command(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 — its callback has answered
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    # `serve` logs the same lines, once it has its catalogue.
    if context.invoked_subcommand == "serve":
        return
    from connectory.console_link import CONSOLE_SETTINGS, console_installed
    from connectory.known_settings import not_of_the_service, unknown_settings

    # The plugins take a second to load, which is spent only where a variable may be theirs.
    if not_of_the_service(os.environ):
        for line in unknown_settings(os.environ, catalog_now(), (CONSOLE_SETTINGS,) if console_installed() else ()):
            print(line, file=sys.stderr)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: CONNECTORY_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one. [default: CONNECTORY_PORT]")] = None,
) -> None:
    """Run the service in the foreground. Prints one line when it is ready; logs go to standard error."""
    given = {"host": host, "port": port}
    # Importing makes hundreds of thousands of objects, all of which stay; the collector would walk through them for a
    # quarter of a second, to free next to nothing. It is switched on again once the service is assembled.
    gc.disable()
    settings = _settings(**{name: value for name, value in given.items() if value is not None})
    with survey_of(settings) as survey:
        from connectory.api.serving import serve as serve_until_ended

        serve_until_ended(settings, survey)


@app.command()
def plugins(
    as_json: _JSON = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit code 1 where one did not load, or the allow or deny list names none."),
    ] = False,
) -> None:
    """List every plugin, with the file of the deployer's own; where one is not loaded, the reason says what to do.

    Those that the allow or deny list excludes are shown as blocked, and count as wanted so.
    """
    from connectory.api.operating.plugins import plugin_item

    catalog = catalog_now()
    unmatched = _settings().selection.unmatched(catalog.records)
    for name in unmatched:
        print(name, file=sys.stderr)
    if as_json:
        print(json.dumps([plugin_item(record) for record in catalog.records], indent=2))
    else:
        for record in catalog.records:
            shipped = f"{record.distribution} {record.version}" + (f" ({record.target})" if record.source else "")
            print(f"{record.identifier}  {shipped}  {record.status.value}  {record.reason or record.remark}".rstrip())
    if check and (unmatched or catalog.not_loaded):
        raise typer.Exit(1)


@_database.command("upgrade")
def upgrade_database() -> None:
    """Bring the database to the tables of this release."""
    from connectory.startup import open_store_of
    from connectory.store.schema import HEAD, current_revision, upgrade

    with open_store_of(_settings()) as store:
        upgrade(store, acting("db upgrade"))
        found = current_revision(store)
    if found == HEAD:
        print(f"The database has the tables of this release (revision {HEAD}).")
    else:
        print(
            f"The database has the tables of a later release (revision {found}), with which this one (revision {HEAD}) works."
        )


@app.command("settings")
def show_settings(as_json: _JSON = False) -> None:
    """List every setting of the service, and those that loaded plugins declare: value, whence, default, and what it is for."""
    from connectory.known_settings import describe_settings

    rows = describe_settings(_settings(), catalog_now())
    if as_json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return
    for row in rows:
        in_force = f"; in force: {row.in_force}" if row.in_force != row.value else ""
        print(
            f"{row.name}={row.value} ({row.origin}{in_force})\n    {row.description} Default: {row.default or 'none'}."
        )


plugin_authors.register(app)
