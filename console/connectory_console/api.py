"""The REST API as the console calls it: with the bearer token of the person who is signed in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from connectory_console.languages import ENGLISH
from connectory_console.languages import gettext as _

BASE = "/api/v1"
_PATIENCE = httpx.Timeout(30.0, connect=5.0)
_TEST_PATIENCE = httpx.Timeout(120.0, connect=5.0)
"""Seconds. A test waits for its turn, and answers by its deadline; the API says both, and a broken one must not hold a page."""
_SCOPE = re.compile(r'scope="([a-z_:]+)"')


@dataclass(frozen=True)
class Problem:
    """What is wrong with one field.

    Attributes:
        path: where: the names and indexes from the outside in.
        message: what is expected.
    """

    path: tuple[str | int, ...]
    message: str

    @property
    def field(self) -> str:
        """The name of the outermost field."""
        return str(self.path[0]) if self.path else ""


class ApiFailed(Exception):
    """The API did not do what it was asked for.

    Attributes:
        status: the HTTP status; 0 where no answer came.
        message: the API's own sentence.
        problems: of a 422, each at its field.
        request_id: what the API's log has of the request.
        retry_after: seconds to wait, of a 429 or 503.
        missing_scope: of a 403.
        language: what the message is in, where it is the API's own: English, whatever the page speaks.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        problems: tuple[Problem, ...] = (),
        request_id: str | None = None,
        retry_after: int | None = None,
        missing_scope: str | None = None,
        language: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.problems = status, message, problems
        self.request_id, self.retry_after, self.missing_scope = request_id, retry_after, missing_scope
        self.language = language


def segment(text: str) -> str:
    """`text` as one segment of a path, whatever it holds."""
    return quote(text, safe="")


class Api:
    """Calls to one service, for one person.

    Args:
        client: with the service's address.
        token: the bearer token; `None` for the calls that need none.
        headers: further headers for every call.
    """

    def __init__(self, client: httpx.AsyncClient, token: str | None, headers: Mapping[str, str] | None = None) -> None:
        self._client = client
        self._headers = dict(headers or {})
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to `GET path`. A query of `None` is left out."""
        return (await self.send("GET", path, query=query)).json()

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
    ) -> httpx.Response:
        """Send a request to `path` below the base path.

        Args:
            patient: it runs a connection test.

        Raises:
            ApiFailed: the answer is an error, or none came.
        """
        given = {name: value for name, value in (query or {}).items() if value not in (None, "", [])}
        try:
            answer = await self._client.request(
                method,
                BASE + path,
                json=json,
                data=form,
                params=given,
                headers={**self._headers, **(headers or {})},
                timeout=_TEST_PATIENCE if patient else _PATIENCE,
            )
        except httpx.HTTPError as problem:
            raise _no_answer(problem) from None
        if answer.status_code >= 400:
            raise _failure(answer)
        return answer

    @asynccontextmanager
    async def stream(self, path: str, *, json: Any = None) -> AsyncIterator[httpx.Response]:
        """The events of a test: `POST path`, answered as `text/event-stream`.

        Raises:
            ApiFailed: it was refused before it started, or no answer came.
        """
        headers = {**self._headers, "Accept": "text/event-stream"}
        try:
            async with self._client.stream(
                "POST", BASE + path, json=json, headers=headers, timeout=_TEST_PATIENCE
            ) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise _failure(answer)
                yield answer
        except httpx.HTTPError as problem:
            raise _no_answer(problem) from None


def _no_answer(problem: httpx.HTTPError) -> ApiFailed:
    return ApiFailed(0, _("The API does not answer (%(problem)s).", problem=type(problem).__name__))


def _failure(answer: httpx.Response) -> ApiFailed:
    try:
        said = answer.json()
    except ValueError:
        said = {}
    detail = said.get("detail", said.get("error_description")) if isinstance(said, dict) else None
    problems: list[Problem] = []
    if isinstance(detail, list):
        problems = [Problem(tuple(found.get("loc", ())), str(found.get("msg", ""))) for found in detail]
        detail = _("Some fields are not accepted.")
    scope = _SCOPE.search(answer.headers.get("www-authenticate", ""))
    wait = answer.headers.get("retry-after", "")
    return ApiFailed(
        answer.status_code,
        detail if isinstance(detail, str) else _("The API answered with status %(status)s.", status=answer.status_code),
        problems=tuple(problems),
        request_id=answer.headers.get("x-request-id"),
        retry_after=int(wait) if wait.isdecimal() else None,
        missing_scope=scope[1] if scope and answer.status_code == 403 else None,
        language=ENGLISH if isinstance(detail, str) and not problems else None,
    )
