"""`/docs`: the OpenAPI document as a page to read and try. It loads nothing from anywhere but this service.

Swagger UI itself comes from the package `fastapi-swagger`, whose files are read when they are first asked for.
"""

from __future__ import annotations

from importlib.resources import files

from fastapi import HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from starlette.routing import Route

from connectory.api.http.answers import page_headers

# Pictures from data: are Swagger UI's icons, which stand in its style sheet.
_HEADERS = page_headers("script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'")

# Every address is relative, so that the page works behind a proxy that takes a prefix off.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Connectory</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = b'SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true});\n'
_BUNDLE = {
    "favicon.png": "favicon-32x32.png",
    "swagger-ui.css": "swagger-ui.css",
    "swagger-ui.js": "swagger-ui-bundle.js",
}
_MEDIA_TYPES = {"png": "image/png", "css": "text/css", "js": "text/javascript"}


async def _page(_request: Request) -> Response:
    return HTMLResponse(_PAGE, headers=_HEADERS)


async def _part(request: Request) -> Response:
    """A file that the page loads. What starts Swagger UI is one too, because the policy lets no script stand in the page."""
    part = request.path_params["part"]
    if part == "start.js":
        content = _START
    elif part in _BUNDLE:
        content = await run_in_threadpool(_bundled, _BUNDLE[part])
    else:
        raise HTTPException(404)
    return Response(content, media_type=_MEDIA_TYPES[part.rpartition(".")[2]], headers=_HEADERS)


def _bundled(file: str) -> bytes:
    return files("fastapi_swagger.resources").joinpath(file).read_bytes()


ROUTES = [Route("/docs", _page, methods=["GET"]), Route("/docs/{part}", _part, methods=["GET"])]
"""The page and what it loads. They need no token, and are not in the OpenAPI document."""
