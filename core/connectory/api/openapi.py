"""The OpenAPI document: what FastAPI makes of the routes, with bodies, examples, and what only the catalogue knows."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import BaseModel, RootModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from connectory.api.access.bearer import Needs
from connectory.api.access.routes import Route
from connectory.api.http.answers import SCHEMAS, reference
from connectory.api.http.bodies import RawBody
from connectory.api.http.errors import FieldProblems, Problem, errors
from connectory.catalog.catalog import Catalog


def install_openapi(app: FastAPI, catalog: Catalog) -> None:
    """Have `app` answer the document, built when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, catalog)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, catalog: Catalog) -> dict[str, Any]:
    for each in app.routes:
        if isinstance(each, Route):
            each.describe()
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    routes = [route for route in iter_route_contexts(app.routes) if route.path in document["paths"]]
    bodies = {model for route in routes for body in _bodies(route) for model, _ in body.forms.values()}
    schemas = document["components"]["schemas"] | _schemas(bodies | {Problem, FieldProblems})
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            operation["responses"] |= {str(status): described for status, described in errors(405).items()}
            for body in _bodies(route):
                operation["requestBody"] = _request_body(body)
            if route.response_model is not None:
                answer = operation["responses"][str(route.status_code or 200)]
                answer["content"]["application/json"]["example"] = example(route.response_model)
    _name_what_is_installed(document, catalog)
    return document


def _bodies(route: RouteContext) -> Iterator[RawBody]:
    for dependency in route.dependant.dependencies:
        call = dependency.call
        body = call.body if isinstance(call, Needs) else call
        if isinstance(body, RawBody):
            yield body


def _request_body(body: RawBody) -> dict[str, Any]:
    content = {}
    for media_type, (model, examples) in body.forms.items():
        named = {name: {"value": value} for name, value in examples.items()}
        content[media_type] = {"schema": reference(model), "examples": named}
    return {"required": body.required, "content": content}


class _NoNullDefaults(GenerateJsonSchema):
    """Leaves out `default: null`: of a member that is not sent, nothing is to be assumed."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        return {key: value for key, value in described.items() if key != "default" or value is not None}


def _schemas(models: set[type[BaseModel]]) -> dict[str, Any]:
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=SCHEMAS, schema_generator=_NoNullDefaults
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def example(shape: type[BaseModel]) -> Any:
    """An example of a model, made of the examples of its fields; what may be left out and has none is left out.

    Raises:
        TypeError: a field that is always there has no example, and its type names no value.
    """
    found = {}
    for name, field in shape.model_fields.items():
        if field.examples:
            found[field.alias or name] = field.examples[0]
        elif field.is_required():
            found[field.alias or name] = _example_of(field.annotation, f"{shape.__name__}.{name}")
    return found["root"] if issubclass(shape, RootModel) else found


def _example_of(kind: Any, place: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return example(kind)
    if get_origin(kind) is list:
        return [_example_of(get_args(kind)[0], place)]
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if NoneType in get_args(kind):
        return None
    if get_origin(kind) in (Union, UnionType):
        return _example_of(get_args(kind)[0], place)
    raise TypeError(f"{place} needs an example.")


def _name_what_is_installed(document: dict[str, Any], catalog: Catalog) -> None:
    """Enumerate the connection types and the kinds of system, which depend on what is installed."""
    item = document["components"]["schemas"]["ConnectionItem"]["properties"]
    item["connection_type"] = {"type": "string", "enum": list(catalog.connectors)}
    for parameter in document["paths"]["/api/v1/connection_type"]["get"]["parameters"]:
        if parameter["name"] == "system_type":
            parameter["schema"] = {"type": "string", "enum": sorted(catalog.types)}
