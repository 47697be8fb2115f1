"""`connectory console`: a link that signs a person in."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from connectory.commands.clients import chosen_client
from connectory.commands.shared import JSON, CommandFailed, acting, settings_now, warn

NOT_INSTALLED = "No console is installed; run: pip install 'connectory[console]'"


def console(
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope to have; repeatable. Default: all of the client's.")
    ] = None,
    client: Annotated[
        str | None, typer.Option(help="Id of the client. Default: the root client of the embedded default.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="The port given to `connectory serve`. Default: CONNECTORY_PORT.", min=1, max=65535),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the link in a browser of this machine, and do not print it.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Print a link that signs in to the console: once, within ten minutes. It works on the local store."""
    from connectory.console_link import console_installed, make_link, origin_of
    from connectory.startup import ensure_root_client, open_database

    if not console_installed():
        raise CommandFailed(NOT_INSTALLED)
    settings = settings_now()
    port = port or settings.port
    if settings.public_url is None and port == 0:
        raise CommandFailed(
            "CONNECTORY_PORT is 0, so the link's port is not known; give --port, or set CONNECTORY_PUBLIC_URL."
        )
    with open_database(settings) as store:
        ensure_root_client(settings, store)
        with store.read() as database:
            found, scopes = chosen_client(database, settings, client, scope)
        origin = origin_of(settings, settings.host, port)
        link = make_link(store, acting("console"), client_id=found.id, scopes=scopes, origin=origin)
    opened = open_browser and _open(link.url)
    if open_browser and not opened:
        warn("No browser could be opened; open the link yourself.")
    if as_json:
        shown = {"url": link.url, "expires_at": link.expires_at.isoformat(), "client_id": found.id}
        print(json.dumps(shown | {"scope": " ".join(sorted(scopes))}))
    elif opened:
        print(f"Opened {origin}/console/ in a browser, as {found.name}.")
    else:
        print(link.url)


def _open(url: str) -> bool:
    """Open a link in a browser, by a file that leads there: every account may read the arguments of a process."""
    import html
    import os
    import tempfile
    import webbrowser
    from pathlib import Path

    path = Path(tempfile.mkdtemp(prefix="connectory-console-")) / "open.html"
    target = html.escape(url)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Connectory</title>'
            f'<meta http-equiv="refresh" content="0;url={target}"><a href="{target}">Open the console</a>\n'
        )
    return webbrowser.open(path.as_uri())
