"""Bodies of requests: read as bytes, and described in the OpenAPI document by the model that validates them.

FastAPI would parse a body before the route runs. Ours is parsed by the route itself: strictly (no NaN, no deep nesting), in
a worker thread, and after the path was looked up, so that an unknown connection is a 404 whatever the body holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from connectory.api.http.errors import Refused, rebuild, refuse_field
from connectory.documents.validation import FieldProblem

_Model = TypeVar("_Model", bound=BaseModel)

_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

MAX_DEPTH = 64
"""Levels of nesting that a body may have."""


class RawBody:
    """A dependency that is the bytes of the body.

    Args:
        model: what the body may be.
        examples: values for the OpenAPI document, by a name that says what each shows.
        media_type: of the body.

    Attributes:
        forms: the model and the examples for each media type.
    """

    required = True

    def __init__(self, model: type[BaseModel], examples: Mapping[str, Any], media_type: str) -> None:
        self.forms = {media_type: (model, examples)}

    async def __call__(self, request: Request) -> bytes:
        """The body, whatever it is."""
        return await request.body()


class JsonBody(RawBody):
    """A dependency that is the bytes of a body that must be JSON; `parse_json` makes a value of them.

    Args:
        required: whether there has to be one; else it may be empty, of whatever type it says it is.
    """

    def __init__(self, model: type[BaseModel], examples: Mapping[str, Any], *, required: bool = True) -> None:
        super().__init__(model, examples, "application/json")
        self.required = required

    async def __call__(self, request: Request) -> bytes:
        """The body.

        Raises:
            Refused: 415 where it says that it is something other than JSON.
        """
        if not self.required and not await request.body():
            return b""
        self._check_type(content_type_of(request))
        return await super().__call__(request)

    def _check_type(self, content_type: str) -> None:
        if not _is_json(content_type):
            raise Refused(415, "The body must be JSON; send the header 'Content-Type: application/json'.")


YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
"""What a body may say it is where it is YAML; the first was registered with RFC 9512, the others came before."""


class JsonOrYamlBody(JsonBody):
    """A dependency that is the bytes of a body that is JSON or YAML, which its type tells apart: see `is_yaml`.

    Args:
        yaml: what the body may be where it is YAML.
        yaml_examples: values for the OpenAPI document.
    """

    def __init__(
        self,
        model: type[BaseModel],
        examples: Mapping[str, Any],
        yaml: type[BaseModel],
        yaml_examples: Mapping[str, Any],
    ) -> None:
        super().__init__(model, examples)
        self.forms["application/yaml"] = (yaml, yaml_examples)

    def _check_type(self, content_type: str) -> None:
        if content_type not in YAML_TYPES and not _is_json(content_type):
            raise Refused(
                415,
                "The body must be JSON or YAML; send the header 'Content-Type: application/json' or "
                "'Content-Type: application/yaml'.",
            )


def content_type_of(request: Request) -> str:
    """What the body says it is, in lower case and without parameters; empty where it does not say."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_yaml(request: Request) -> bool:
    """Whether the body says that it is YAML."""
    return content_type_of(request) in YAML_TYPES


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or content_type.endswith("+json")


def parse_json(body: bytes, depth: int = MAX_DEPTH) -> Any:
    """The value of a body: RFC 8259 JSON in UTF-8, without NaN, Infinity, lone surrogates, or nesting over `depth` levels.

    Raises:
        Refused: 422, without anything of the body.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse_field(
            ["body"], f"The body is not valid JSON in UTF-8; see line {error.lineno}.", "json_invalid"
        ) from None
    if _may_be_deep(body) and _too_deep(value, depth):
        raise refuse_field(["body"], f"The body is nested deeper than {depth} levels.", "json_too_deep")
    return value


def parse_body(body: bytes, model: type[_Model]) -> _Model:
    """A body as one of a model that allows no further members.

    Raises:
        Refused: 422 with all problems, and nothing of the body.
    """
    try:
        return model.model_validate(parse_json(body))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    raise Refused(422, [_problem(each, model) for each in found])


def _problem(error: Mapping[str, Any], model: type[BaseModel]) -> FieldProblem:
    if error["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return FieldProblem(loc=["body"], msg=f"Holds a member that is not known. Known: {known}.", type=error["type"])
    return rebuild([error], ["body"])[0]


def _may_be_deep(body: bytes) -> bool:
    """Whether more than a few levels are possible, at a fraction of the price of walking through the value."""
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(8):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _too_deep(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True
