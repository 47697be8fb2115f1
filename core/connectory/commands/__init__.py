"""The commands of `connectory`: serve, token, client, plugins, secrets, keys, db, settings, audit, egress, and those for authors.

Each imports what it needs when it runs, so that none waits for another's packages.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectory.checks.linux import hide_memory
from connectory.commands import egress, keys, plugin_authors, secrets
from connectory.commands.shared import JSON as _JSON
from connectory.commands.shared import CommandFailed
from connectory.commands.shared import settings_now as _settings

if TYPE_CHECKING:
    from connectory.catalog.catalog import Catalog
    from connectory.catalog.survey import Survey
    from connectory.settings import Settings
    from connectory.store.audit import AuditEntry


app = typer.Typer(
    name="connectory",
    help="Connect a product to other people's databases and services. Settings: `connectory settings`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_clients = typer.Typer(help="API clients: who may ask for tokens.", no_args_is_help=True, rich_markup_mode=None)
_database = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(_clients, name="client")
app.add_typer(secrets.app, name="secrets")
app.add_typer(keys.app, name="keys")
app.add_typer(_database, name="db")
app.add_typer(egress.app, name="egress")


def run(arguments: list[str]) -> None:
    """Run one command and end the process.

    What a command cannot do is one line on standard error, a line for each setting that is wrong, and exit code 1.
    """
    hide_memory()  # from connection tests, among others
    try:
        app(args=arguments, prog_name="connectory")
    except Exception as error:
        if not isinstance(error, _told()):
            raise
        from connectory.settings import SettingsInvalid

        lines = error.problems if isinstance(error, SettingsInvalid) else [str(error)]
        sys.exit("\n".join(line.replace("\n", " ") for line in lines))


def _told() -> tuple[type[Exception], ...]:
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


def _survey(settings: Settings) -> Survey:
    from connectory.catalog.survey import Survey

    return Survey(settings.selection)


@cache
def _catalog() -> Catalog:
    with _survey(_settings()) as survey:
        return survey.catalog()


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
    from connectory.known_settings import not_of_the_service, unknown_settings

    # The plugins take a second to load, which is spent only where a variable may be theirs.
    if not_of_the_service(os.environ):
        for line in unknown_settings(os.environ, _catalog()):
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
    with _survey(settings) as survey:
        from connectory.api.serving import serve as serve_until_ended

        serve_until_ended(settings, survey)


@app.command()
def token(
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope to have; repeatable. Default: all of the client's.")
    ] = None,
    client: Annotated[
        str | None, typer.Option(help="Id of the client. Default: the root client of the embedded default.")
    ] = None,
) -> None:
    """Print a bearer token for the local store, and nothing else."""
    from connectory.startup import ensure_root_client, open_database
    from connectory.store.clients import issue_token, list_clients
    from connectory.store.timestamps import utc_now

    settings = _settings()
    with open_database(settings) as store:
        ensure_root_client(settings, store)
        wanted = client or _root_client_id(settings)
        with store.write() as database:
            found = next((row for row in list_clients(database) if row.id == wanted), None)
            if found is None:
                raise CommandFailed("There is no such client; `connectory client list` shows them.")
            scopes = _scopes(scope) if scope else sorted(found.scopes)
            if lacking := sorted(set(scopes) - found.scopes):
                raise CommandFailed(
                    f"The client does not have the scope {lacking[0]}; it has: {' '.join(sorted(found.scopes))}."
                )
            lifetime = timedelta(seconds=settings.token_lifetime)
            text, _ = issue_token(database, found.id, scopes=scopes, lifetime=lifetime, now=utc_now())
    print(text)


def _root_client_id(settings: Settings) -> str:
    try:
        return str(json.loads(settings.root_client_path.read_text())["client_id"])
    except (OSError, ValueError, KeyError):
        raise CommandFailed(
            f"{settings.root_client_path} does not name a root client; choose one of `connectory client list` with --client."
        ) from None


def _scopes(words: list[str]) -> list[str]:
    from connectory.scopes import SCOPES

    scopes = [scope for word in words for scope in word.replace(",", " ").split()]
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise CommandFailed(f"There is no scope {unknown[0]!r}; known are: {' '.join(SCOPES)}.")
    return scopes


@_clients.command("create")
def create_client(
    name: Annotated[str, typer.Argument(help="What the client is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope to have; repeatable. Default: all.")] = None,
) -> None:
    """Create a client and print its id and secret as JSON. The secret cannot be shown again."""
    from connectory.scopes import SCOPES
    from connectory.startup import open_database
    from connectory.store.clients import create_client as create
    from connectory.store.timestamps import utc_now

    scopes = _scopes(scope) if scope else list(SCOPES)
    with open_database(_settings()) as store, store.write() as database:
        client, secret = create(database, name=name, scopes=scopes, now=utc_now())
    print(json.dumps({"client_id": client.id, "client_secret": secret, "scope": " ".join(sorted(client.scopes))}))


@_clients.command("list")
def list_clients(as_json: _JSON = False) -> None:
    """List the clients with their scopes, oldest first."""
    from connectory.startup import open_database
    from connectory.store.clients import list_clients as find_all

    with open_database(_settings()) as store, store.read() as database:
        found = find_all(database)
    if as_json:
        rows = [{"client_id": row.id, "name": row.name, "scope": " ".join(sorted(row.scopes))} for row in found]
        print(json.dumps(rows, indent=2))
        return
    for row in found:
        print(f"{row.id}  {row.name}  {' '.join(sorted(row.scopes))}")


@_clients.command("delete")
def delete_client(client_id: Annotated[str, typer.Argument(help="Id of the client.")]) -> None:
    """Delete a client and revoke its tokens. A running service takes notice within 5 seconds."""
    from connectory.startup import open_database
    from connectory.store.clients import delete_client as delete

    with open_database(_settings()) as store, store.write() as database:
        if not delete(database, client_id):
            raise CommandFailed("There is no such client; `connectory client list` shows them.")


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
    from connectory.api.plugins import plugin_item

    catalog = _catalog()
    unmatched = _settings().selection.unmatched(catalog.records)
    for name in unmatched:
        print(name, file=sys.stderr)
    if as_json:
        print(json.dumps([plugin_item(record) for record in catalog.records], indent=2))
    else:
        for record in catalog.records:
            shipped = f"{record.distribution} {record.version}" + (f" ({record.target})" if record.source else "")
            print(f"{record.identifier}  {shipped}  {record.status.value}  {record.reason}".rstrip())
    if check and (unmatched or catalog.not_loaded):
        raise typer.Exit(1)


@_database.command("upgrade")
def upgrade_database() -> None:
    """Bring the database to the tables of this release."""
    from connectory.startup import open_store_of
    from connectory.store.schema import HEAD, upgrade

    with open_store_of(_settings()) as store:
        upgrade(store)
    print(f"The database has the tables of this release (revision {HEAD}).")


@app.command("settings")
def show_settings(as_json: _JSON = False) -> None:
    """List every setting of the service, and those that loaded plugins declare: value, whence, default, and what it is for."""
    from connectory.known_settings import describe_settings

    rows = describe_settings(_settings(), _catalog())
    if as_json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return
    for row in rows:
        in_force = f"; in force: {row.in_force}" if row.in_force != row.value else ""
        print(
            f"{row.name}={row.value} ({row.origin}{in_force})\n    {row.description} Default: {row.default or 'none'}."
        )


@app.command("audit")
def show_audit(
    connection: Annotated[str | None, typer.Option(help="Only of the connection that has, or had, this key.")] = None,
    action: Annotated[str | None, typer.Option(help='Only of this action, like "updated" or "rotated".')] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Entries to show.")] = 50,
    as_json: _JSON = False,
) -> None:
    """Show the audit trail, newest first: who did what to which connection. It names fields and never holds a value."""
    from connectory.startup import open_database
    from connectory.store.audit import list_entries

    with open_database(_settings()) as store, store.read() as database:
        entries, _ = list_entries(database, connection_key=connection, action=action, size=limit)
    if as_json:
        print(json.dumps([_audit_item(entry) for entry in entries], indent=2))
        return
    rows = [
        (f"{entry.at:%Y-%m-%d %H:%M:%S}Z", entry.actor, entry.action, entry.connection_key or "-") for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, entry in zip(rows, entries, strict=True):
        columns = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        print("  ".join([*columns, *_audit_details(entry)]).rstrip())


def _audit_item(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": entry.at.isoformat(),
        "actor": entry.actor,
        "action": entry.action,
        "connection_id": entry.connection_id,
        "connection_key": entry.connection_key,
        "changed_fields": list(entry.changed_fields),
        "kid": entry.kid,
        "result_code": entry.result_code,
        "request_id": entry.request_id,
    }


def _audit_details(entry: AuditEntry) -> list[str]:
    found = {
        "result": entry.result_code,
        "fields": ",".join(entry.changed_fields),
        "kid": entry.kid,
        "request": entry.request_id,
    }
    return [f"{name}={value}" for name, value in found.items() if value]


plugin_authors.register(app)
