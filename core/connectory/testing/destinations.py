"""Where secrets go: each function returns complaints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectory.contract.secrets import Secrets
from connectory.contract.ssl_mode import SslMode
from connectory.documents.sensitivity import is_endpoint, types_in
from connectory.testing.payloads import as_parts, is_accepted


def unmarked_destinations(
    model: type[Secrets], here: Sequence[Mapping[str, Any]], elsewhere: Mapping[str, Any]
) -> list[str]:
    """The fields that lead to another server and are not marked as endpoints.

    Args:
        here: secrets that lead to one server, twice: where they differ it is not for the server.
        elsewhere: secrets that lead to another.
    """
    first, again, other = (as_parts(model, payload) for payload in (*here, elsewhere))
    moved = [name for name in first.keys() | other.keys() if first.get(name) != other.get(name)]
    return [
        f"{name} decides where the secrets are sent and is not marked; add Endpoint() to its type, so that changing it asks for "
        "the secrets again."
        for name in sorted(moved)
        if first.get(name) == again.get(name) and name in model.model_fields and not is_endpoint(model, name)
    ]


def verifying(model: type[Secrets], payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """`payload` with TLS that verifies the server; `None` where no field of the secrets asks for that."""
    parts = as_parts(model, payload)
    for name, field in model.model_fields.items():
        for mode in (SslMode.VERIFY_FULL, SslMode.VERIFY_CA):
            verified = parts | {name: mode.value}
            if SslMode in types_in(field.annotation) and is_accepted(model, verified):
                return verified
    return None
