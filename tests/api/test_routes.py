"""Routes that take few steps answer what FastAPI's own would."""

from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Header, Path, Query, Request, Response
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from connectory.api.access.routes import Route, Router, _needed
from connectory.api.app import create_app
from connectory.api.node.service import Service

WORDS = st.sampled_from(
    ["", "1", "0", "-1", " 2", "1.0", "true", "null", "a", "b", "A", "ä", "%00", "1e3", "٣", "x" * 300]
)
NAMES = st.sampled_from(["page", "size", "kind", "search", "by", "Page", "other"])


async def _told(
    request: Request,
    key: Annotated[str, Path(max_length=9)],
    page: Annotated[int, Query(ge=1)] = 1,
    size: Annotated[float | None, Query(le=9)] = None,
    kind: Annotated[list[Literal["a", "b"]] | None, Query()] = None,
    search: Annotated[str, Query(max_length=200, alias="by")] = "",
    if_match: Annotated[str | None, Header(max_length=5)] = None,
) -> Response:
    return Response(repr((request.url.path, key, page, size, kind, search, if_match)))


async def _listed(given: Annotated[list[Literal["a", "b"]], Query(alias="kind")], several: bool = False) -> Response:
    return Response(repr((given, several)))


def _client(router: APIRouter) -> TestClient:
    router.get("/told/{key}")(_told)
    router.get("/listed")(_listed)
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


OURS, THEIRS = _client(Router()), _client(APIRouter())


@given(
    path=st.sampled_from(["/told/k", "/told/%C3%A4", "/told/" + "k" * 10, "/listed"]),
    sent=st.lists(st.tuples(NAMES, WORDS), max_size=4),
    tag=st.none() | st.sampled_from(["", "abc", "abcdef"]),
)
def test_a_request_is_answered_as_fastapi_would(path: str, sent: list[tuple[str, str]], tag: str | None) -> None:
    headers = {} if tag is None else {"If-Match": tag}
    ours, theirs = (client.get(path, params=sent, headers=headers) for client in (OURS, THEIRS))
    assert (ours.status_code, ours.text, ours.headers) == (theirs.status_code, theirs.text, theirs.headers)


def _slow(app: FastAPI) -> set[str]:
    return {route.unique_id for route in app.routes if isinstance(route, Route) and _needed(route.dependant) is None}


def test_ours_take_few_steps(service: Service) -> None:
    """All but those of which FastAPI has to find out more."""
    assert _slow(OURS.app) == set()
    assert _slow(create_app(service)) == {
        *("authorizeConnection", "completeAuthorization", "confirmAuthorization"),  # cookies
        *("createToken", "introspectToken", "revokeToken"),  # forms, and credentials in a header
        "getReadiness",  # a status of its own
    }
