"""`/docs`: the OpenAPI document as a page to read and try. It loads nothing from anywhere but this service.

Swagger UI itself comes from the package `fastapi-swagger`, whose files are read when they are first asked for.
"""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # Swagger UI's style sheet holds its icons
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

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


@router.get("/docs")
async def page() -> Response:
    """The page."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.get("/docs/{part}")
async def part_of_page(part: str) -> Response:
    """A file that the page loads. What starts Swagger UI is one too, because the policy lets no script stand in the page."""
    if part == "start.js":
        content = _START
    elif part in _BUNDLE:
        content = await run_in_threadpool(_bundled, _BUNDLE[part])
    else:
        raise HTTPException(404)
    return Response(content, media_type=_MEDIA_TYPES[part.rpartition(".")[2]], headers=_HEADERS)


def _bundled(file: str) -> bytes:
    return files("fastapi_swagger.resources").joinpath(file).read_bytes()
