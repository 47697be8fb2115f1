"""The client of an application in this process, which the application knows by a loopback address."""

from typing import Any

from fastapi.testclient import TestClient
from starlette.types import ASGIApp


class LocalClient(TestClient):
    """A `TestClient` whose requests name a host that every service answers to, unless `base_url` says otherwise."""

    def __init__(self, app: ASGIApp, base_url: str = "http://127.0.0.1", **options: Any) -> None:
        super().__init__(app, base_url, **options)
