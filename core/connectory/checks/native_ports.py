"""The TCP ports that native code of a connector's drivers may have to connect to by itself: those of its own connection."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from connectory.catalog.loaded import LoadedConnector
from connectory.contract.secrets import URL_FIELD
from connectory.documents.validation import Document

_AFTER_HOST = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^/?#]*@)?(?:\[[^\]]*\]|[^:/?#]*):([0-9]{1,5})(?:[/?#]|$)", re.IGNORECASE
)
_MOST = 65535


def native_ports(connector: LoadedConnector, document: Document) -> tuple[int, ...]:
    """Those that the secrets name, or leave to their defaults, and those that the connector names."""
    return tuple(sorted({*connector.description.native_ports, *_named(connector.schema, document)}))


def _named(schema: Mapping[str, Any], document: Document) -> Iterator[int]:
    for name, facts in schema["properties"].items():
        # What `Port` is in a schema. A default counts beside a url too, which may leave the port out.
        if facts.get("type") == "integer" and (facts.get("minimum"), facts.get("maximum")) == (1, _MOST):
            value = document.get(name, facts.get("default"))
            if isinstance(value, int):
                yield value
    url = document.get(URL_FIELD)
    if isinstance(url, str) and (found := _AFTER_HOST.match(url)):
        yield int(found[1])
