"""An OAuth 2.0 and OpenID Connect provider.

Engine: oidc-provider-mock, which is Authlib's authorization server, in a process of its own; with PKCE enforced in front
of it. A green test shows that clients, redirect URIs, codes, verifiers and refresh tokens are what that server takes.
It does not show a vendor's own deviations from the standard.
"""

import os
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from connectory.testing.ports import IPV4_LOOPBACK, free_port
from connectory.testing.processes import ServerProcess
from testkit.processes import LocalServer


class OauthProvider(LocalServer):
    """One provider on 127.0.0.1. `url` is its address without a path."""

    folder_name = "oauth"

    def __init__(self) -> None:
        self.host = IPV4_LOOPBACK
        self.port = 0  # until start() chooses one

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def _start(self, folder: Path) -> None:
        self.port = free_port()
        self._process = ServerProcess(
            "oidc-provider-mock",
            [sys.executable, Path(__file__).with_name("app.py"), str(self.port)],
            log=folder / "log",
            # Authlib refuses plain http otherwise.
            environment={"PATH": os.environ["PATH"], "AUTHLIB_INSECURE_TRANSPORT": "1"},
            folder=folder,
        )
        self._process.wait_for_port(self.port)

    def register(self, redirect_uri: str) -> dict[str, str]:
        """A new client that may have this redirect URI and no other: its `client_id` and `client_secret`."""
        answer = httpx.post(f"{self.url}/oauth2/clients", json={"redirect_uris": [redirect_uri]}).raise_for_status()
        return {name: answer.json()[name] for name in ("client_id", "client_secret")}

    def consent(self, address: str, person: str = "alice", *, deny: bool = False) -> httpx.Response:
        """What a person's browser gets who answers the page at `address`; not followed further."""
        form = {"action": "deny"} if deny else {"sub": person}
        return httpx.post(address, data=form, follow_redirects=False)

    def answer(self, address: str, person: str = "alice", *, deny: bool = False) -> tuple[str, dict[str, str]]:
        """Where the provider sends the browser then: the address without its query, and its query."""
        location = urlsplit(self.consent(address, person, deny=deny).headers["location"])
        query = {name: values[0] for name, values in parse_qs(location.query).items()}
        return location._replace(query="").geturl(), query

    def revoke(self, person: str = "alice") -> None:
        """Forget every token of a person."""
        httpx.post(f"{self.url}/users/{person}/revoke-tokens").raise_for_status()

    def seen(self) -> list[str]:
        """Every code, code verifier and token so far."""
        return httpx.get(f"{self.url}/seen").json()
