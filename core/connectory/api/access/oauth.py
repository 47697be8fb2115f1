"""What the endpoints of OAuth have in common: forms come in, and errors are those of RFC 6749 §5.2."""

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from connectory.api.http.answers import NO_STORE, Answer
from connectory.api.http.errors import errors
from connectory.api.node.service import Service

FORM = "application/x-www-form-urlencoded"
"""The media type of every request to them."""

_Given = TypeVar("_Given")


class OauthError(Answer):
    """An error of RFC 6749 §5.2."""

    error: str
    error_description: str


class OauthRefused(Exception):
    """The request is answered with an error of RFC 6749 §5.2.

    Attributes:
        error: one of its words.
        description: a sentence.
        status: HTTP status.
        headers: further headers of the answer.
    """

    def __init__(
        self, error: str, description: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.error, self.description, self.status, self.headers = error, description, status, headers or {}


REFUSALS: dict[int | str, dict[str, Any]] = errors(413, 503) | {
    400: {"model": OauthError, "description": "The request is not as RFC 6749 has it"},
    401: {"model": OauthError, "description": "The credentials are not accepted"},
    429: {"model": OauthError, "description": "Too many failed logins; try again after `Retry-After` seconds"},
}
"""The errors that they can answer."""


async def oauth_answer(work: Awaitable[_Given], response: Response) -> _Given | JSONResponse:
    """What `work` gives, or the error that it raises; either is kept by nothing on the way (RFC 6749 §5.1)."""
    try:
        given = await work
    except OauthRefused as refused:
        answer = OauthError(error=refused.error, error_description=refused.description)
        return JSONResponse(answer.model_dump(), refused.status, {**NO_STORE, **refused.headers})
    response.headers.update(NO_STORE)
    return given


def read_form(request: Request, body: bytes, fields: type[BaseModel]) -> dict[str, str]:
    """The fields of a form that `fields` has and that are not empty.

    Raises:
        OauthRefused: it is not a form, or gives a field twice.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise OauthRefused("invalid_request", f"The body must be a form; send the header 'Content-Type: {FORM}'.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=32, errors="strict")
    except ValueError:
        raise OauthRefused("invalid_request", "The body is not a form in percent-encoded UTF-8.") from None
    known = [(name, value) for name, value in pairs if name in fields.model_fields]
    if len(known) != len(dict(known)):
        raise OauthRefused("invalid_request", "A form field is given twice.")
    return {name: value for name, value in known if value}


def address_of(request: Request) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client is not None else ""


def refuse_guessing(service: Service, caller: tuple[str, str | None]) -> None:
    """Refuse a caller whose failed logins were too many.

    Args:
        caller: address, and id of a client; or None, for all that belongs to no client.

    Raises:
        OauthRefused: 429.
    """
    if wait := service.login_limit.wait(caller):
        message = f"Too many failed logins; try again in {wait} second{'' if wait == 1 else 's'}."
        raise OauthRefused("temporarily_unavailable", message, status=429, headers={"Retry-After": str(wait)})
