"""`connectory client`: create, list, rotate-secret, delete; and `connectory token`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from connectory.commands.shared import JSON, CommandFailed, acting, settings_now

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from connectory.settings import Settings
    from connectory.store.clients import Client

app = typer.Typer(help="API clients: who may ask for tokens.", no_args_is_help=True, rich_markup_mode=None)

_Client = Annotated[str, typer.Argument(metavar="CLIENT", help="Id of the client.")]
_NO_CLIENT = "There is no such client; `connectory client list` shows them."


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
    from connectory.store.audit import append
    from connectory.store.clients import issue_token
    from connectory.store.timestamps import utc_now

    settings = settings_now()
    with open_database(settings) as store:
        ensure_root_client(settings, store)
        with store.write() as database:
            found, scopes = chosen_client(database, settings, client, scope)
            lifetime = timedelta(seconds=settings.token_lifetime)
            text, _ = issue_token(database, found.id, scopes=scopes, lifetime=lifetime, now=utc_now())
            append(
                database,
                acting("token").did("token_issued", object=found.id, details={"scopes": " ".join(sorted(scopes))}),
            )
    print(text)


def chosen_client(
    database: Connection, settings: Settings, client: str | None, scope: list[str] | None
) -> tuple[Client, list[str]]:
    """The client that a command acts for, and the scopes that it wants of the client's.

    Args:
        client: its id. Default: the root client's.
        scope: as they were given. Default: all of the client's.

    Raises:
        CommandFailed: there is no such client or scope, or the client lacks one.
    """
    from connectory.startup import root_client_id
    from connectory.store.clients import find_client

    wanted = client or root_client_id(settings)
    if wanted is None:
        raise CommandFailed(
            f"{settings.root_client_path} does not name a root client; choose one of `connectory client list` with --client."
        )
    found = find_client(database, wanted)
    if found is None:
        raise CommandFailed(_NO_CLIENT)
    scopes = _scopes(scope) if scope else sorted(found.scopes)
    if lacking := sorted(set(scopes) - found.scopes):
        raise CommandFailed(
            f"The client does not have the scope {lacking[0]}; it has: {' '.join(sorted(found.scopes))}."
        )
    return found, scopes


def _scopes(words: list[str]) -> list[str]:
    from connectory.scopes import SCOPES

    scopes = [scope for word in words for scope in word.replace(",", " ").split()]
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise CommandFailed(f"There is no scope {unknown[0]!r}; known are: {' '.join(SCOPES)}.")
    return scopes


@app.command("create")
def create_client(
    name: Annotated[str, typer.Argument(help="What the client is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope to have; repeatable. Default: all.")] = None,
) -> None:
    """Create a client and print its id and secret as JSON. The secret cannot be shown again."""
    from connectory.scopes import SCOPES
    from connectory.startup import open_database
    from connectory.store.client_changes import add_client
    from connectory.store.timestamps import utc_now

    scopes = _scopes(scope) if scope else list(SCOPES)
    with open_database(settings_now()) as store, store.write() as database:
        client, secret = add_client(database, acting("client create"), name=name, scopes=scopes, now=utc_now())
    print(json.dumps({"client_id": client.id, "client_secret": secret, "scope": " ".join(sorted(client.scopes))}))


@app.command("list")
def list_clients(as_json: JSON = False) -> None:
    """List the clients with their scopes, oldest first."""
    from connectory.startup import open_database
    from connectory.store.clients import list_clients as find_all

    with open_database(settings_now()) as store, store.read() as database:
        found = find_all(database)
    if as_json:
        rows = [{"client_id": row.id, "name": row.name, "scope": " ".join(sorted(row.scopes))} for row in found]
        print(json.dumps(rows, indent=2))
        return
    for row in found:
        print(f"{row.id}  {row.name}  {' '.join(sorted(row.scopes))}")


@app.command("rotate-secret")
def rotate_secret(
    client_id: _Client,
    revoke_tokens: Annotated[
        bool,
        typer.Option(
            "--revoke-tokens",
            help="Revoke its tokens too, as where the secret was stolen. A running service takes notice within 5 seconds.",
        ),
    ] = False,
) -> None:
    """Give a client a new secret and print it as JSON. The old one is refused at once; tokens work until they expire."""
    from connectory.startup import open_database
    from connectory.store.client_changes import renew_secret

    with open_database(settings_now()) as store, store.write() as database:
        renewed = renew_secret(database, acting("client rotate-secret"), client_id, revoke=revoke_tokens)
        if renewed is None:
            raise CommandFailed(_NO_CLIENT)
    print(json.dumps({"client_id": client_id, "client_secret": renewed[0]}))


@app.command("delete")
def delete_client(client_id: _Client) -> None:
    """Delete a client and revoke its tokens. A running service takes notice within 5 seconds."""
    from connectory.startup import open_database
    from connectory.store.client_changes import remove_client

    with open_database(settings_now()) as store, store.write() as database:
        if not remove_client(database, acting("client delete"), client_id):
            raise CommandFailed(_NO_CLIENT)
