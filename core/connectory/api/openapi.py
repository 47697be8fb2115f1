"""The OpenAPI document: schemas, examples and error answers that routes refer to.

Responses are rendered straight from rows, so these schemas describe and do not validate; the tests hold the service to them.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from connectory.api.bearer import SCHEME
from connectory.catalog.catalog import Catalog
from connectory.contract.check import FailureCode
from connectory.scopes import SCOPES

Schema = dict[str, Any]

KEY_PATTERN = r"^[A-Za-z0-9_.-]{1,200}$"
_TEXT = r"^[^\x00-\x1f\x7f]*$"


def reference(name: str) -> Schema:
    """A reference to the schema `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Schema, *, optional: tuple[str, ...] = (), closed: bool = True) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required} | (
        {"additionalProperties": False} if closed else {}
    )


def _page(item: str) -> Schema:
    return _object(
        {
            "items": {"type": "array", "items": reference(item)},
            "total": {"type": "integer", "minimum": 0},
            "page": {"type": "integer", "minimum": 1},
            "size": {"type": "integer", "minimum": 1},
            "pages": {"type": "integer", "minimum": 0},
        }
    )


def _bulk(item: str, data: str) -> Schema:
    failed = _object({"message": {"type": "string"}, "data": reference(data)})
    return _object(
        {
            "succeeded": {"type": "array", "items": reference(item)},
            "failed": {"type": "array", "items": failed},
        }
    )


_STRING: Schema = {"type": "string"}
_BOOLEAN: Schema = {"type": "boolean"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": _TEXT}
_KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": KEY_PATTERN}
_ACCESS: Schema = {"type": "string", "enum": ["read", "write"]}
_DESCRIPTION: Schema = {"type": "string", "maxLength": 5000, "pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"}
# The Fides language takes a number for a name and stores it as text.
_LENIENT_TEXT: Schema = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]}
_SECRETS: Schema = {
    "type": "object",
    "description": "The fields of the connection type's secret schema, GET /connection_type/{connection_type}/secret.",
}
_CONNECTION: Schema = {
    "name": _STRING,
    "key": _STRING,
    "description": _nullable(_STRING),
    "connection_type": _STRING,
    "access": _ACCESS,
    "created_at": _TIME,
    "updated_at": _TIME,
    "disabled": _BOOLEAN,
    "last_test_timestamp": _nullable(_TIME),
    "last_test_succeeded": _nullable(_BOOLEAN),
}
READ_ONLY = ("created_at", "updated_at", "last_test_timestamp", "last_test_succeeded", "secrets_state", "authorized")
"""Members that `GET` returns and `PATCH` accepts and ignores."""

_SCHEMAS: dict[str, Schema] = {
    "Problem": _object({"detail": _STRING}),
    "FieldProblems": _object(
        {
            "detail": {
                "type": "array",
                "items": _object(
                    {
                        "loc": {"type": "array", "items": {"anyOf": [_STRING, {"type": "integer"}]}},
                        "msg": _STRING,
                        "type": _STRING,
                    }
                ),
            }
        }
    ),
    "Message": _object({"msg": _STRING}),
    "ConsentAddress": {"type": "string", "format": "uri"},
    "Token": _object(
        {
            "access_token": _STRING,
            "token_type": {"type": "string", "const": "bearer"},
            "expires_in": {"type": "integer"},
            "scope": _STRING,
        }
    ),
    "TokenRequest": {
        "type": "object",
        "properties": {
            "grant_type": {"type": "string", "const": "client_credentials"},
            "client_id": _STRING,
            "client_secret": {"type": "string", "writeOnly": True},
            "scope": _STRING,
        },
        "required": ["grant_type"],
    },
    "OauthError": _object({"error": _STRING, "error_description": _STRING}),
    "ConnectionType": _object(
        {
            "identifier": _STRING,
            "type": _STRING,
            "human_readable": _STRING,
            "encoded_icon": _nullable(_STRING),
            "authorization_required": _BOOLEAN,
            "user_guide": _nullable(_STRING),
            "supported_actions": {"type": "array", "items": _STRING},
            "category": _nullable(_STRING),
        }
    ),
    "ConnectionTypePage": _page("ConnectionType"),
    "SecretSchema": _object(
        {
            "title": _STRING,
            "description": _STRING,
            "type": {"type": "string", "const": "object"},
            "properties": {"type": "object"},
            "required": {"type": "array", "items": _STRING},
            "additionalProperties": {"const": False},
            "anyOf": {"type": "array"},
        },
        optional=("anyOf",),
        closed=False,
    ),
    "Plugin": _object(
        {
            "identifier": _STRING,
            "distribution": _STRING,
            "version": _STRING,
            "target": _STRING,
            "status": {"type": "string", "enum": ["loaded", "blocked", "failed", "incompatible", "conflict"]},
            "reason": _nullable(_STRING),
        }
    ),
    "PluginPage": _page("Plugin"),
    "Connection": _object(_CONNECTION),
    "ConnectionPage": _page("Connection"),
    "ConnectionDetail": _object(
        _CONNECTION
        | {
            "secrets": _nullable({"type": "object", "description": "Sensitive values are shown as `**********`."}),
            "secrets_state": {"type": "string", "enum": ["absent", "stored", "unreadable"]},
            "authorized": _BOOLEAN,
        }
    ),
    "ConnectionItem": {
        "type": "object",
        "description": (
            "One connection to create or change. Without `key` one is created whose key is the name in snake case. "
            "To change a stored connection, `connection_type` and `access` may be left out."
        ),
        "properties": {
            "name": _nullable(_NAME),
            "key": _nullable(_KEY),
            "connection_type": _STRING,
            "access": _ACCESS,
            "disabled": _BOOLEAN,
            "description": _nullable(_DESCRIPTION),
            "secrets": _nullable(_SECRETS),
        }
        | {name: {"description": "Read-only: accepted and ignored."} for name in READ_ONLY},
        "required": ["connection_type", "access"],
        "anyOf": [
            {"required": ["key"], "properties": {"key": {"type": "string"}}},
            {"required": ["name"], "properties": {"name": {"type": "string"}}},
        ],
        "additionalProperties": False,
    },
    "ConnectionItems": {"type": "array", "maxItems": 50, "items": reference("ConnectionItem")},
    "FailedConnection": _object(
        {
            "name": _nullable(_STRING),
            "key": _nullable(_STRING),
            "connection_type": _STRING,
            "access": _ACCESS,
            "disabled": _BOOLEAN,
            "description": _nullable(_STRING),
        }
    ),
    "ConnectionsSaved": _bulk("Connection", "FailedConnection"),
    "Secrets": _SECRETS,
    "Step": _object(
        {
            "name": _STRING,
            "status": {"type": "string", "enum": ["passed", "failed", "skipped"]},
            "elapsed_ms": {"type": "number", "minimum": 0},
        }
    ),
    "TestResult": _object(
        {
            "msg": _STRING,
            "test_status": {"enum": ["succeeded", "failed", "skipped", None]},
            "failure_reason": _nullable(_STRING),
            "failure_code": {"enum": [*(code.value for code in FailureCode), None]},
            "steps": {"type": "array", "items": reference("Step")},
        }
    ),
    "Dataset": {
        "type": "object",
        "description": "A dataset of the Fides language, with all of its members: https://ethyca.github.io/fideslang/",
        "properties": {
            "fides_key": _STRING,
            "name": _nullable(_STRING),
            "description": _nullable(_STRING),
            "collections": {"type": "array", "items": reference("DatasetCollection")},
        },
        "required": ["fides_key", "name", "description", "collections"],
    },
    "DatasetToSave": {
        "type": "object",
        "description": "A dataset of the Fides language; a member that is not shown here may be given too.",
        "properties": {
            "fides_key": {"type": "string", "pattern": r"^[A-Za-z0-9_.<>-]{1,200}$"},
            "name": _LENIENT_TEXT,
            "description": _LENIENT_TEXT,
            "collections": {"type": "array", "items": reference("DatasetCollectionToSave")},
        },
        "required": ["fides_key", "collections"],
    },
    "DatasetCollectionToSave": {
        "type": "object",
        "properties": {
            "name": _STRING,
            "description": _nullable(_STRING),
            "fields": {"type": "array", "items": reference("DatasetFieldToSave")},
        },
        "required": ["name", "fields"],
    },
    "DatasetFieldToSave": {
        "type": "object",
        "properties": {
            "name": _STRING,
            "description": _nullable(_STRING),
            "data_categories": _nullable(
                {"type": "array", "items": {"type": "string", "pattern": r"^[A-Za-z0-9_.<>-]+$"}}
            ),
        },
        "required": ["name"],
    },
    "DatasetCollection": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "description": _nullable(_STRING),
            "fields": {"type": "array", "items": reference("DatasetField")},
        },
        "required": ["name", "fields"],
    },
    "DatasetField": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "description": _nullable(_STRING)},
        "required": ["name"],
    },
    "Datasets": {"type": "array", "maxItems": 50, "items": reference("DatasetToSave")},
    "DatasetPage": _page("Dataset"),
    "FailedDataset": _object({"connection_key": _STRING, "fides_key": _STRING, "dataset": reference("Dataset")}),
    "DatasetsSaved": _bulk("Dataset", "FailedDataset"),
    "Health": _object({"status": {"type": "string", "const": "healthy"}}),
    "Ready": _object(
        {
            "ready": _BOOLEAN,
            "unreadable_rows": {"type": "integer", "minimum": 0},
            "missing_kids": {"type": "array", "items": _STRING},
        }
    ),
}

_ERRORS = {
    400: "It cannot be completed; the detail says why, and what to do",
    401: "No valid bearer token was sent",
    403: "The token lacks the scope that is needed",
    404: "It does not exist; the detail names a similar key where there is one",
    405: "The path does not take this method",
    409: "What is stored, or installed, does not allow it; the detail says what to do",
    413: "The body is too large",
    415: "The body is not declared to be JSON",
    422: "The request is not valid; each problem names its place, and none repeats a submitted value",
    429: "Too many tests wait; try again after `Retry-After` seconds",
    500: "The service failed",
    503: "The database is not available, or the service is ending; try again",
}


def answers(*errors: int, ok: tuple[int, str | None, Any]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route.

    Args:
        errors: statuses it can answer besides success.
        ok: status, schema and example of success.
    """
    status, schema, example = ok
    success: dict[str, Any] = {"description": "Done"}
    if schema is not None:
        success["content"] = {"application/json": {"schema": reference(schema), "example": example}}
    responses: dict[int | str, dict[str, Any]] = {status: success}
    return responses | {code: _error(code) for code in errors}


def _error(code: int) -> dict[str, Any]:
    schema = reference("FieldProblems" if code == 422 else "Problem")
    answer: dict[str, Any] = {"description": _ERRORS[code], "content": {"application/json": {"schema": schema}}}
    if code == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": _STRING}}
    if code == 429:
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return answer


def json_body(schema: str, examples: dict[str, Any]) -> dict[str, Any]:
    """The part of `openapi_extra` that describes a JSON body, with named examples."""
    named = {name: {"value": value} for name, value in examples.items()}
    content = {"application/json": {"schema": reference(schema), "examples": named}}
    return {"requestBody": {"required": True, "content": content}}


def install_openapi(app: FastAPI, catalog: Catalog) -> None:
    """Have `app` answer the document, built when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, catalog)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _restore(operations: dict[str, Any], route: APIRoute) -> None:
    """Put back what routes say of bodies and answers: FastAPI leaves every `null` out, in examples too."""
    for method in route.methods or ():
        operation = operations[method.lower()]
        operation["responses"] |= {str(status): answer for status, answer in route.responses.items()}
        if route.openapi_extra and "requestBody" in route.openapi_extra:
            operation["requestBody"] = route.openapi_extra["requestBody"]


def _document(app: FastAPI, catalog: Catalog) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = dict(_SCHEMAS)
    item = schemas["ConnectionItem"]
    known_type = {"type": "string", "enum": list(catalog.connectors)}
    schemas["ConnectionItem"] = item | {"properties": item["properties"] | {"connection_type": known_type}}
    document["components"] = {
        "schemas": schemas,
        "securitySchemes": {
            SCHEME: {
                "type": "oauth2",
                "flows": {"clientCredentials": {"tokenUrl": "/api/v1/oauth/token", "scopes": SCOPES}},
            }
        },
    }
    for route in app.routes:
        if isinstance(route, APIRoute):
            _restore(document["paths"][route.path_format], route)
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "system_type" and operation["operationId"] == "listConnectionTypes":
                    parameter["schema"] = {"type": "string", "enum": sorted(catalog.types)}
            operation["responses"].setdefault("405", _error(405))
    return document
