"""Routes that take a request to its function in a few steps.

FastAPI solves every request anew what a route needs, for whatever a route might need: 0.1 of the 0.4 ms CPU that
`GET /connection/{key}` takes. Our routes are alike: a token, a few plain parameters, a `Response`. What those need is found out
when the route is made. A route of another kind, and a request that is refused for its parameters, goes FastAPI's own way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, NamedTuple, cast, get_args, get_origin

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from connectory.api.access.bearer import Needs
from connectory.api.http.bodies import RawBody

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_COLLECTIONS = (list, set, frozenset, tuple, dict)
_VALUES = (str, int, float, bool, type(None))
"""Types whose values need no copy for each request."""


class Router(APIRouter):
    """A router of such routes; for the arguments see `fastapi.APIRouter`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=Route, **options)


class Route(APIRoute):
    """One of them. The model of its answers is compiled when the OpenAPI document is asked for, and not at the start."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._described = options
        answers_itself = _answers_itself(endpoint)
        super().__init__(path, endpoint, **options | ({"response_model": None} if answers_itself else {}))

    def describe(self) -> None:
        """Have what the OpenAPI document says of the answer."""
        if _answers_itself(self.endpoint):
            described = APIRoute(self.path, self.endpoint, **self._described)
            self.response_model, self.response_field = described.response_model, described.response_field

    def get_route_handler(self) -> _Handler:
        """What answers a request."""
        careful = super().get_route_handler()
        needed = _needed(self.dependant) if _answers_itself(self.endpoint) else None
        return careful if needed is None else _quick(self.endpoint, *needed, self.dependant.request_param_name, careful)


def _answers_itself(endpoint: Callable[..., Any]) -> bool:
    return endpoint.__annotations__.get("return") in (Response, "Response")


class _Parameter(NamedTuple):
    """One parameter of a route.

    Attributes:
        name: of the function's argument.
        source: the mapping of the request that it is in.
        alias: its name there.
        several: whether it may be there several times, and is a list.
        required: whether it has to be there.
        default: where it is not.
        validate: gives the value and what is wrong with it.
    """

    name: str
    source: Callable[[Request], Any]
    alias: str
    several: bool
    required: bool
    default: Any
    validate: Callable[[Any], tuple[Any, list[Any]]]


_Dependency = tuple[str | None, Needs | RawBody]


def _quick(
    endpoint: Callable[..., Awaitable[Response]],
    dependencies: list[_Dependency],
    parameters: list[_Parameter],
    request_name: str | None,
    careful: _Handler,
) -> _Handler:
    async def handle(request: Request) -> Response:
        given: dict[str, Any] = {} if request_name is None else {request_name: request}
        for name, dependency in dependencies:
            value = await dependency(request)
            if name is not None:
                given[name] = value
        for parameter in parameters:
            found = parameter.source(request)
            sent = found.getlist(parameter.alias) if parameter.several else found.get(parameter.alias)
            if sent is None or sent == []:
                if parameter.required:
                    return await careful(request)  # which tells all that is wrong
                given[parameter.name] = list(parameter.default) if parameter.several else parameter.default
                continue
            given[parameter.name], problems = parameter.validate(sent)
            if problems:
                return await careful(request)
        return await endpoint(**given)

    return handle


def _needed(dependant: Dependant) -> tuple[list[_Dependency], list[_Parameter]] | None:
    """What a route needs before its function can run; `None` where it is more than can be had quickly."""
    others = (
        *(dependant.body_params, dependant.cookie_params, dependant.background_tasks_param_name),
        *(dependant.response_param_name, dependant.security_scopes_param_name, dependant.http_connection_param_name),
    )
    if any(others) or not all(isinstance(each.call, Needs | RawBody) for each in dependant.dependencies):
        return None
    parameters = list(_parameters(dependant))
    if None in parameters:
        return None
    dependencies = [(each.name, cast("Needs | RawBody", each.call)) for each in dependant.dependencies]
    return dependencies, [each for each in parameters if each]


def _parameters(dependant: Dependant) -> Iterator[_Parameter | None]:
    """Each parameter; `None` for one that FastAPI has to look at."""
    places = (
        (dependant.path_params, lambda request: request.path_params),
        (dependant.query_params, lambda request: request.query_params),
        (dependant.header_params, lambda request: request.headers),
    )
    for fields, source in places:
        for field in fields:
            info = field.field_info
            several = source is not places[0][1] and get_origin(info.annotation) is list
            required = info.is_required()
            default = None if required else field.get_default()
            plain = (
                all(map(_is_plain, get_args(info.annotation) if several else (info.annotation,)))
                and isinstance(default, list if several and not required else _VALUES)
                and not info.validate_default
                and info.default_factory is None
                and info.validation_alias in (None, info.alias)
            )
            made = _Parameter(field.name, source, field.alias, several, required, default, field.validate)
            yield made if plain else None


def _is_plain(annotation: Any) -> bool:
    """Whether a value of the type is made of one text, and not of several or of all of them."""
    if get_origin(annotation) is not None:
        return get_origin(annotation) not in _COLLECTIONS and all(map(_is_plain, get_args(annotation)))
    return not (isinstance(annotation, type) and issubclass(annotation, (*_COLLECTIONS, BaseModel)))
