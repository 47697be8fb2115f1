"""What holds for every answer of the console: its headers, and which requests a cookie counts for."""

from __future__ import annotations

from markupsafe import escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from connectory_console.languages import gettext as _
from connectory_console.languages import spoken
from connectory_console.origin import comes_from_elsewhere, cookie_name, is_ours
from connectory_console.web import Page, Visit, Web, speak_as_asked

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
# Our own page asks for itself once more; the browser then sends the cookie, which it keeps back from a link of another site.
_AGAIN = """<!DOCTYPE html>
<html lang="{language}"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>Connectory</title></head>
<body><p><a href="">{text}</a></p></body></html>
"""


async def admitted(web: Web, page: Page, request: Request) -> Response:
    """The answer of `page`, given that what the cookie says counts only for requests of our own."""
    speak_as_asked(web, request)
    ours = is_ours(request, web.public_url)
    if not ours and comes_from_elsewhere(request):
        return _with_headers(
            HTMLResponse(_AGAIN.format(language=spoken().tag, text=escape(_("Continue to the console"))))
        )
    if not ours and (request.headers.get("sec-fetch-site") is not None or request.method not in {"GET", "HEAD"}):
        return _with_headers(PlainTextResponse(_("This request does not come from a page of the console."), 403))
    name = cookie_name(request, web.public_url)
    session = web.sessions.open(request.cookies.get(name, ""), name) if ours else None
    visit = Visit(web, request, session, ours)
    response = await page(visit)
    if visit.session is not None and visit.session is session and (renewed := web.sessions.renewed(session)):
        visit.keep(response, renewed)
    return _with_headers(response)


def _with_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
