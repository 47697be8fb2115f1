"""The web console, where one is installed: found by its entry point, mounted at `/console`, and otherwise not there at all."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from importlib.metadata import EntryPoint, entry_points

from fastapi.concurrency import run_in_threadpool
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from connectory.api.http.errors import problem_response
from connectory.api.http.logs import log
from connectory.console_link import GROUP
from connectory.settings import Settings

PATH = "/console"


class Console:
    """ASGI application that loads the console when it is first asked for: a node that serves only the API pays nothing for it.

    The console is a consumer of the REST API like any other, and gets nothing but addresses and the folder of its key.

    Args:
        entry: an object that makes the console, a Starlette application.
        own_address: where this process listens, like `http://127.0.0.1:8000`.
    """

    def __init__(self, entry: EntryPoint, settings: Settings, own_address: str) -> None:
        self._entry, self._settings, self._own_address = entry, settings, own_address
        self._loading = asyncio.Lock()
        self._opened = AsyncExitStack()
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; 503 where the console does not load."""
        try:
            app = self._app or await self._load()
        except Exception as problem:  # it is another distribution's code
            said = f"{type(problem).__name__}: {problem}"
            log.error("console does not load", console=self._entry.value, reason=said)
            answer = problem_response(503, "The console does not load; the service's log says why.")
            await answer(scope, receive, send)
            return
        await app(scope, receive, send)

    async def close(self) -> None:
        """End what it began."""
        await self._opened.aclose()

    async def _load(self) -> ASGIApp:
        async with self._loading:
            if self._app is None:
                app: Starlette = await run_in_threadpool(self._make)
                await self._opened.enter_async_context(app.router.lifespan_context(app))
                self._app = app
            return self._app

    def _make(self) -> Starlette:
        make = self._entry.load()
        made: Starlette = make(
            api_url=self._own_address, public_url=self._settings.public_url, home=self._settings.home
        )
        return made


def installed_console(settings: Settings, own_address: str) -> Console | None:
    """The console that is installed, the first by name where there are several; `None` where there is none."""
    entry = min(entry_points(group=GROUP), key=lambda found: (found.name, found.value), default=None)
    return None if entry is None else Console(entry, settings, own_address)
