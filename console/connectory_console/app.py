"""The console as an ASGI application, to be mounted in a service or run alone."""

from __future__ import annotations

import mimetypes
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectory_console.api import ApiFailed
from connectory_console.guard import HEADERS, admitted
from connectory_console.languages import Language, read_languages
from connectory_console.languages import gettext as _
from connectory_console.pages import (
    audit,
    bulk,
    catalogue,
    clients,
    connection,
    connection_list,
    consent,
    datasets,
    find,
    health,
    home,
    keys,
    new_connection,
    plugins,
    secrets,
    sign_in,
)
from connectory_console.sessions import open_sessions
from connectory_console.settings import ConsoleSettings
from connectory_console.web import FormRefused, Page, Visit, Web, problems_as_data, static_bytes

_KEPT = 4.0
"""Seconds that a connection to the API is kept unused: many servers close theirs after five, and lose what is being sent."""

_PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/", home.show),
    ("GET", "/sign-in", sign_in.show),
    ("POST", "/sign-in", sign_in.with_credentials),
    ("POST", "/sign-in/look", sign_in.look_at_code),
    ("POST", "/sign-in/code", sign_in.with_code),
    ("POST", "/sign-out", sign_in.sign_out),
    ("POST", "/theme", sign_in.set_theme),
    ("POST", "/language", sign_in.set_language),
    ("GET", "/find", find.show),
    ("POST", "/find", find.offer),
    ("GET", "/catalogue", catalogue.show),
    ("GET", "/connections", connection_list.show),
    ("POST", "/connections/bulk", bulk.run),
    ("GET", "/connections/new", new_connection.show),
    ("POST", "/connections/new", new_connection.act),
    ("GET", "/connections/{key}", connection.show),
    ("POST", "/connections/{key}", connection.change),
    ("POST", "/connections/{key}/test", connection.test),
    ("POST", "/connections/{key}/delete", connection.delete),
    ("GET", "/connections/{key}/history", connection.history),
    ("GET", "/connections/{key}/health", health.show),
    ("GET", "/connections/{key}/health/watch", health.watch),
    ("POST", "/connections/{key}/health/schedule", health.schedule),
    ("POST", "/connections/{key}/health/webhook", health.webhook),
    ("GET", "/connections/{key}/secrets", secrets.show),
    ("POST", "/connections/{key}/secrets", secrets.act),
    ("GET", "/connections/{key}/consent", consent.show),
    ("POST", "/connections/{key}/consent", consent.ask),
    ("GET", "/connections/{key}/datasets", datasets.show),
    ("GET", "/connections/{key}/datasets/edit", datasets.edit),
    ("POST", "/connections/{key}/datasets/edit", datasets.act),
    ("POST", "/connections/{key}/datasets/delete", datasets.delete),
    ("POST", "/connections/{key}/datasets/discover", datasets.discover),
    ("GET", "/plugins", plugins.show),
    ("GET", "/keys", keys.show),
    ("GET", "/clients", clients.show),
    ("POST", "/clients", clients.create),
    ("GET", "/clients/{client_id}", clients.show_one),
    ("POST", "/clients/{client_id}", clients.change),
    ("GET", "/audit", audit.show),
    ("GET", "/audit.csv", audit.as_csv),
)


def create_console(
    *,
    api_url: str | Callable[[], str],
    public_url: str | None = None,
    home: Path | None = None,
    settings: ConsoleSettings | None = None,
    languages: Mapping[str, Language] | None = None,
) -> Starlette:
    """The console of one service.

    Args:
        api_url: the service's address, without `/api/v1`; a function where the console is mounted in the service, which knows its
            address only once it listens.
        public_url: where browsers find the console. Default: what their requests say.
        home: folder of the session key, where the settings hold none.
        settings: default: of the environment.
        languages: by tag. Default: those of the folder `locale`.

    Raises:
        KeyUnusable: the key of the session cookie cannot be used.
    """
    settings = settings or ConsoleSettings()
    if home is not None:
        settings = settings.model_copy(update={"home": home})
    sessions = open_sessions(settings)
    client = httpx.AsyncClient(
        trust_env=False,  # no proxy gets to see tokens
        verify=ssl.create_default_context(),  # whom the machine trusts, and `SSL_CERT_FILE`
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=_KEPT),
    )
    web = Web(client, sessions, languages or read_languages(), public_url, None if callable(api_url) else api_url)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        client.base_url = httpx.URL(api_url() if callable(api_url) else api_url)
        async with client:
            yield

    routes = [Route(path, _handler(web, page), methods=[method]) for method, path, page in _PAGES]
    routes.append(Route("/static/{version}/{name}", _static, methods=["GET"]))
    # No page of ours can be asked for by another site, so nobody there learns anything from how small an answer becomes (BREACH).
    smaller = Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    not_found: Any = _handler(web, _no_such_page)
    return Starlette(routes=routes, lifespan=lifespan, middleware=[smaller], exception_handlers={404: not_found})


def _handler(web: Web, page: Page) -> Callable[..., Awaitable[Response]]:
    async def handle(request: Request, _error: Exception | None = None) -> Response:
        return await admitted(web, lambda visit: _answer(visit, page), request)

    return handle


async def _answer(visit: Visit, page: Page) -> Response:
    if visit.session is None and page not in sign_in.OPEN:
        return sign_in.ask(visit)
    try:
        return await page(visit)
    except ApiFailed as failed:
        return _failed(visit, failed)
    except FormRefused as refused:
        if visit.wants_data:
            return problems_as_data({}, str(refused), 413)
        return visit.page("failed.html", 413, failed=ApiFailed(413, str(refused)))


def _failed(visit: Visit, failed: ApiFailed) -> Response:
    if failed.status == 401:
        return sign_in.ask(visit, ended=True)
    status = failed.status or 502
    if visit.wants_data:
        return JSONResponse(
            {
                "problems": {problem.field: problem.message for problem in failed.problems},
                "summary": failed.message,
                "retry_after": failed.retry_after,
                "request_id": failed.request_id,
            },
            status,
        )
    return visit.page("failed.html", status, failed=failed)


async def _no_such_page(visit: Visit) -> Response:
    return visit.page("failed.html", 404, failed=ApiFailed(404, _("There is no such page.")))


async def _static(request: Request) -> Response:
    name, version = request.path_params["name"], request.path_params["version"]
    try:
        content = static_bytes(name) if "/" not in name and ".." not in name else None
    except OSError:
        content = None
    headers = dict(HEADERS)
    if content is None or not version:
        return Response(status_code=404, headers=headers)
    headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return Response(content, media_type=mimetypes.guess_type(name)[0], headers=headers)
