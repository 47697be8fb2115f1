"""What every page needs: who is signed in, the API in their name, and answers as pages or as data for our script."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import httpx
import jinja2
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from connectory_console import languages, wording
from connectory_console.api import Api, ApiFailed
from connectory_console.languages import gettext as _
from connectory_console.origin import cookie_name, own_origin
from connectory_console.sessions import Session, Sessions

LARGEST_FORM = 4 << 20
"""Bytes of a form: a dataset of the API's 1 MB, percent-encoded, and more."""
_MOST_FIELDS = 2000
_THEMES = ("light", "dark")
_THEME_COOKIE = "connectory_theme"
_LANGUAGE_COOKIE = "connectory_language"
_YEAR = 31_536_000


class FormRefused(Exception):
    """A form cannot be read; the message says why."""


def templates() -> jinja2.Environment:
    """The templates, with what they call. Whatever a template shows is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("connectory_console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": wording.ago,
        "ahead": wording.ahead,
        "moment": wording.moment,
        "milliseconds": wording.milliseconds,
        "segment": lambda text: quote(str(text), safe=""),
    }
    environment.tests |= {"failure": lambda value: isinstance(value, ApiFailed), "broken_plugin": wording.is_broken}
    environment.globals |= {"wording": wording}
    languages.teach(environment)
    return environment


def static_bytes(name: str) -> bytes:
    """A file of the console."""
    return files("connectory_console").joinpath("static", name).read_bytes()


def _versions() -> dict[str, str]:
    names = (found.name for found in files("connectory_console").joinpath("static").iterdir())
    return {name: hashlib.sha256(static_bytes(name)).hexdigest()[:12] for name in names if "." in name}


@dataclass(frozen=True)
class Web:
    """One console.

    Attributes:
        client: of the service's address.
        sessions: seals and opens the session cookies.
        languages: those that there are, by tag.
        public_url: where browsers find the service, if the deployer said so.
        service_url: the service's address where it is another than the console's.
    """

    client: httpx.AsyncClient
    sessions: Sessions
    languages: Mapping[str, languages.Language]
    public_url: str | None = None
    service_url: str | None = None
    pages: jinja2.Environment = field(default_factory=templates)
    versions: dict[str, str] = field(default_factory=_versions)


@dataclass
class Visit:
    """One request of a person's browser.

    Attributes:
        session: who is signed in; `None` also where the request does not come from one of our pages.
        is_ours: whether it does.
    """

    web: Web
    request: Request
    session: Session | None
    is_ours: bool

    @cached_property
    def api(self) -> Api:
        """The API in this person's name."""
        return Api(self.web.client, self.session.token if self.session else None)

    @property
    def base(self) -> str:
        """The path of the console, without a slash at its end."""
        return str(self.request.scope.get("root_path", ""))

    @property
    def redirect_uri(self) -> str:
        """The address that a provider sends the browser back to after a consent: of the service, as browsers find it."""
        service = self.web.service_url or own_origin(self.request, self.web.public_url)
        return f"{service}/api/v1/oauth/callback"

    @property
    def wants_data(self) -> bool:
        """Whether our script asks, which shows the answer in the page that is there."""
        return self.request.method == "POST" and "text/html" not in self.request.headers.get("accept", "")

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the address."""
        return str(self.request.query_params.get(name, default))

    def page_number(self) -> int:
        """The page of a list that is asked for."""
        text = self.query("page", "1")
        return min(max(int(text), 1), 10**6) if text.isdecimal() and len(text) < 8 else 1

    async def form(self) -> dict[str, str]:
        """The fields of a form. Lines end with a newline, as the person typed them: browsers send two characters.

        Raises:
            FormRefused: it is too large, or not a form.
        """
        return dict(await self.form_pairs())

    async def form_pairs(self) -> list[tuple[str, str]]:
        """The fields of a form, with those that are there more than once."""
        body = bytearray()
        async for part in self.request.stream():
            body += part
            if len(body) > LARGEST_FORM:
                raise FormRefused(_("What was sent is larger than %(size)s MB.", size=LARGEST_FORM >> 20))
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
            )
        except ValueError:
            raise FormRefused(_("What was sent is not a form in UTF-8.")) from None
        return [(name, value.replace("\r\n", "\n")) for name, value in pairs]

    async def attempt(self, path: str, **query: Any) -> Any:
        """The answer to `GET path`, or the failure, for a part of a page that may be missing."""
        try:
            return await self.api.get(path, **query)
        except ApiFailed as failed:
            if failed.status in {0, 401}:  # the whole page is pointless
                raise
            return failed

    def page(self, template: str, status: int = 200, **shown: Any) -> Response:
        """A page for people."""
        theme = self.request.cookies.get(_THEME_COOKIE, "")
        text = self.web.pages.get_template(template).render(
            visit=self,
            session=self.session,
            base=self.base,
            path=self.request.url.path,
            here=self.request.url.path + (f"?{self.request.url.query}" if self.request.url.query else ""),
            theme=theme if theme in _THEMES else "system",
            done=_(wording.DONE[done]) if (done := self.query("done")) in wording.DONE else None,
            **shown,
        )
        return Response(text, status, media_type="text/html; charset=utf-8")

    def place(self, path: str, done: str = "") -> str:
        """The address of a page of the console; `done` names the sentence it shows."""
        shown = f"{'&' if '?' in path else '?'}done={done}" if done else ""
        return f"{self.base}{path}{shown}"

    def go(self, path: str, done: str = "") -> Response:
        """Send the browser to a page of the console; `done` names the sentence it shows."""
        address = self.place(path, done)
        return JSONResponse({"location": address}) if self.wants_data else RedirectResponse(address, 303)

    def address(self, **changed: Any) -> str:
        """The address of this page with other parameters; `None` takes one away."""
        pairs = {name: value for name, value in self.request.query_params.items() if name != "done"}
        pairs.update({name: str(value) for name, value in changed.items()})
        kept = {name: value for name, value in pairs.items() if value not in ("None", "")}
        return f"{self.request.url.path}?{urlencode(kept)}" if kept else self.request.url.path

    def static(self, name: str) -> str:
        """The address of a file; it changes with the file, so browsers keep it for good."""
        return f"{self.base}/static/{self.web.versions[name]}/{name}"

    def remember_theme(self, response: Response, theme: str) -> None:
        """Have every page from now on in `theme`: `light`, `dark`, or anything else for the system's."""
        _remember(response, _THEME_COOKIE, theme if theme in _THEMES else "")

    def remember_language(self, response: Response, tag: str) -> None:
        """Speak the language called `tag` from now on; where there is none, the one that the browser asks for."""
        _remember(response, _LANGUAGE_COOKIE, tag if tag in self.web.languages else "")

    def keep(self, response: Response, session: Session) -> None:
        """Set the cookie of a session."""
        name = cookie_name(self.request, self.web.public_url)
        response.set_cookie(
            name,
            self.web.sessions.seal(session, name),
            path="/",
            secure=name.startswith("__Host-"),
            httponly=True,
            samesite="strict",
        )

    def forget(self, response: Response) -> None:
        """Take the session's cookie away."""
        name = cookie_name(self.request, self.web.public_url)
        response.delete_cookie(name, path="/", secure=name.startswith("__Host-"), httponly=True, samesite="strict")


def speak_as_asked(web: Web, request: Request) -> None:
    """Speak the language that the person chose, or else the one that the browser asks for."""
    tag = request.cookies.get(_LANGUAGE_COOKIE, "")
    languages.speak(languages.chosen(web.languages, tag, request.headers.get("accept-language", "")))


def _remember(response: Response, name: str, value: str) -> None:
    if value:
        response.set_cookie(name, value, max_age=_YEAR, samesite="strict", httponly=True, path="/")
    else:
        response.delete_cookie(name, path="/")


Page = Callable[[Visit], Awaitable[Response]]


def is_local(path: str) -> bool:
    """Whether `path` leads to a page of this origin, and nowhere else: browsers read `//host` and `/\\host` as another host."""
    return path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()


def problems_as_data(problems: Mapping[str, str], summary: str, status: int = 422) -> JSONResponse:
    """What is wrong, for our script to show at the fields."""
    return JSONResponse({"problems": dict(problems), "summary": summary}, status)
