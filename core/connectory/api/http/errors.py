"""Every error the API answers, in one place: its shape, and the rule that nothing submitted is repeated.

Bodies have FastAPI's shape: `{"detail": "sentence"}`, and for 422 `{"detail": [{"loc": [], "msg": "", "type": ""}]}`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from connectory.api.http.answers import Answer, reference
from connectory.catalog.survey import ConnectorLost
from connectory.contract.wording import sentence
from connectory.documents.validation import FieldProblem
from connectory.store.errors import StoreUnavailable


class Problem(Answer):
    """Why a request was refused, in a sentence."""

    detail: str


class FieldProblems(Answer):
    """What is wrong with a request, one entry for each place."""

    detail: list[FieldProblem]


_MEANINGS = {
    400: "It cannot be completed; the detail says why, and what to do",
    401: "No valid bearer token was sent",
    403: "The token lacks the scope that is needed",
    404: "It does not exist; the detail names a similar key where there is one",
    405: "The path does not take this method",
    409: "What is stored, or installed, does not allow it; the detail says what to do",
    412: "The connection was changed since the `ETag` in `If-Match` was read",
    413: "The body is too large",
    415: "The body is not declared to be of a type that is taken here",
    422: "The request is not valid; each problem names its place, and none repeats a submitted value",
    429: "Too many tests wait; try again after `Retry-After` seconds",
    503: "The database is not available, the machine has no room for a test, or the service is ending; try again",
}
_HEADERS = {401: {"WWW-Authenticate": "string"}, 429: {"Retry-After": "integer"}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route, or every route of a router, can answer: for its `responses`.

    They refer to the models, and do not name them as `model`: FastAPI would compile each of the hundred when the route is
    made, which took 20 ms of the 480 ms CPU that importing the application takes.
    """
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        schema = reference(FieldProblems if status == 422 else Problem)
        described[status] = {"description": _MEANINGS[status], "content": {"application/json": {"schema": schema}}}
        if status in _HEADERS:
            described[status]["headers"] = {name: {"schema": {"type": kind}} for name, kind in _HEADERS[status].items()}
    return described


PROTECTED = errors(401, 403, 422, 503)
"""What every route that needs a token can answer."""


class Refused(Exception):
    """The request is answered with an error.

    Attributes:
        status: HTTP status.
        detail: a sentence, or for 422 the list of problems.
        headers: further headers of the answer.
    """

    def __init__(
        self, status: int, detail: str | Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail
        self.headers = headers


def refuse_field(loc: Sequence[str | int], message: str, kind: str) -> Refused:
    """A 422 about one field."""
    return Refused(422, [FieldProblem(loc=list(loc), msg=message, type=kind)])


_UNEXPECTED = "The value is not accepted."
_PLAIN_WORD = re.compile(r"[a-z]+(_[a-z]+)*")


def rebuild(errors: Iterable[Mapping[str, Any]], prefix: Sequence[str | int] = ()) -> list[FieldProblem]:
    """Pydantic's errors with our own messages, without input, context and url.

    The caller makes sure that `loc` holds names of declared fields only; see `name_if_plain` for unknown ones.
    """
    problems = []
    for error in errors:
        message = sentence(error["type"], error.get("ctx")) or _UNEXPECTED  # so that none can carry what was submitted
        problems.append(FieldProblem(loc=[*prefix, *error["loc"]], msg=message, type=error["type"]))
    return problems


def name_if_plain(name: str) -> str | None:
    """`name`, where it looks like the name of a field and not like a secret that was sent in its place."""
    return name if len(name) <= 40 and _PLAIN_WORD.fullmatch(name) else None


def problem_response(status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error."""
    return Response(orjson.dumps({"detail": detail}), status, headers, "application/json")


def install_error_handlers(app: FastAPI) -> None:
    """Have every exception that a request may end with answered in our shape."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(StoreUnavailable, _store_unavailable)
    app.add_exception_handler(ConnectorLost, _connector_lost)
    app.add_exception_handler(ClientDisconnect, _departed)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problem_response(error.status, error.detail, error.headers)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(422, rebuild(error.errors()))


async def _store_unavailable(request: Request, error: Exception) -> Response:
    request.app.state.service.heartbeat.soon()  # so that `/ready` soon tells whether this is more than a moment's
    return problem_response(503, str(error), {"Retry-After": "1"})


async def _connector_lost(_request: Request, error: Exception) -> Response:
    return problem_response(503, str(error))


async def _departed(_request: Request, _error: Exception) -> Response:
    return problem_response(499, "The caller closed the connection.")


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        has_page = any(route.path == "/docs" for route in iter_route_contexts(request.app.routes))
        listed = "; the paths are listed at /docs" if has_page else ""
        return problem_response(404, f"There is nothing at this path{listed}.")
    if error.status_code != 405:
        return problem_response(error.status_code, error.detail, error.headers)
    allow = {"Allow": ", ".join(_methods_at(request))}
    if request.method == "OPTIONS":
        return Response(None, 204, allow)
    return problem_response(405, f"This path does not take {request.method}.", allow)


def _methods_at(request: Request) -> list[str]:
    """Every method the path takes. Starlette's own answer names those of the first route of the path only.

    Where one path is also of another's form, as `/connection/summary` is of a connection's, the first one counts, as the document
    has it.
    """
    routes = iter_route_contexts(request.app.routes)
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {"OPTIONS"}
    for route in matching:
        if route.path == matching[0].path:
            methods |= route.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
