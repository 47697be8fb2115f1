"""`connectory-console`: the console alone, beside a service that runs elsewhere."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvicorn
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from connectory_console.app import create_console
from connectory_console.sessions import KeyUnusable

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    api: Annotated[str, typer.Option(help="Address of the service, like https://connectory.example.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port to listen on.", min=1, max=65535)] = 8001,
    public_url: Annotated[
        str | None,
        typer.Option(help="Where browsers find the console, like https://console.example. Unset: where it listens."),
    ] = None,
) -> None:
    """Serve the console of a service that runs elsewhere, until it is told to end.

    Bearer tokens travel to the service: on another machine its address has to be https.
    """
    for option, address in {"--api": api, "--public-url": public_url}.items():
        if address is not None and (problem := _problem(address)):
            raise typer.BadParameter(f"{option}: {problem}")
    try:
        console = create_console(api_url=api.rstrip("/"), public_url=public_url and public_url.rstrip("/"))
    except KeyUnusable as problem:
        raise SystemExit(str(problem)) from None
    typer.echo(f"The console of {api} is at http://{f'[{host}]' if ':' in host else host}:{port}/console/")
    uvicorn.run(alone(console), host=host, port=port, log_level="warning", server_header=False)


def alone(console: Starlette) -> Starlette:
    """The console under the same path as in a service, so that its addresses are the same."""

    async def to_console(_request: object) -> RedirectResponse:
        return RedirectResponse("/console/")

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with console.router.lifespan_context(console):
            yield

    return Starlette(routes=[Route("/", to_console), Mount("/console", app=console)], lifespan=lifespan)


def _problem(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return "this is not an address."
    if not host or parts.scheme not in {"http", "https"} or parts.path.rstrip("/") or parts.query or parts.username:
        return "give scheme and host, like https://connectory.example, without a path."
    if parts.scheme == "http" and not _is_loopback(host):
        return "on another machine it has to be https, because passwords and tokens travel there."
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> None:
    """Run the command."""
    app()
