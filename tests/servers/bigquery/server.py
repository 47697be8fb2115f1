"""A stand-in for BigQuery: bqemulator, with Google's token endpoint and access control in front.

Engine: bqemulator answers queries from DuckDB; tokens, projects, permissions, and what `INFORMATION_SCHEMA` says of keys and of
the lengths of texts, are ours (`information_schema`). Proven: that the real client signs
its assertion with the key file's key, gets a token for it, sends it, and what it makes of Google's statuses and reasons. Not
proven: Google's SQL, its own choice of statuses, and TLS to `googleapis.com`.
"""

import base64
import http.client
import json
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from connectory.testing.ports import IPV4_LOOPBACK, free_port
from connectory.testing.processes import ServerProcess
from servers.bigquery.information_schema import InformationSchema
from testkit.processes import LocalServer
from testkit.side_environment import side_python

_APP = Path(__file__).with_name("app.py")
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 section 2.1


@dataclass(frozen=True)
class ServiceAccount:
    """A service account and what it may do."""

    email: str
    project: str
    key: rsa.RSAPrivateKey
    runs_queries: bool
    reads_datasets: bool
    disabled: bool

    def key_file(self, **changes: Any) -> dict[str, Any]:
        """The key file as Google's console writes it, with `changes`."""
        private_key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": "0123456789abcdef",
            "private_key": private_key.decode(),
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://oauth2.googleapis.com/token",
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{self.email.replace('@', '%40')}",
            "universe_domain": "googleapis.com",
        } | changes


class Answer(NamedTuple):
    """What the front answers by itself."""

    status: int
    body: dict[str, Any]


class BigQueryServer(LocalServer):
    """One emulator with the project `demo-project` on 127.0.0.1, in plain http; `testkit.tls_front` puts TLS and ::1 before it.

    `requests` lists the method and path of every request that came in, `time_limits` the milliseconds that jobs had. There is
    one dataset, `app`.
    """

    folder_name = "bigquery"
    project = "demo-project"
    dataset = "app"

    def __init__(self) -> None:
        self.host = IPV4_LOOPBACK
        self.port = 0  # chosen by start()
        self.requests: list[tuple[str, str]] = []
        self.time_limits: list[int] = []
        self._accounts: dict[str, ServiceAccount] = {}
        self._tokens: dict[str, ServiceAccount] = {}
        self._information = InformationSchema()
        self._emulator_port = 0
        self._front: ThreadingHTTPServer | None = None

    def __repr__(self) -> str:
        return f"BigQueryServer({self.host}:{self.port})"

    @property
    def endpoint(self) -> str:
        """The address that stands for bigquery.googleapis.com."""
        return f"http://{self.host}:{self.port}"

    @property
    def token_uri(self) -> str:
        """The address that stands for Google's token endpoint."""
        return f"{self.endpoint}/token"

    def create_account(
        self, name: str, *, runs_queries: bool = True, reads_datasets: bool = True, disabled: bool = False
    ) -> ServiceAccount:
        """Create a service account in the project; its `key_file()` logs in."""
        email = f"{name}@{self.project}.iam.gserviceaccount.com"
        account = ServiceAccount(email, self.project, _key(name), runs_queries, reads_datasets, disabled)
        self._accounts[email] = account
        return account

    def _start(self, folder: Path) -> None:
        python = side_python("bigquery")
        self._emulator_port, grpc_port = free_port(), free_port()
        command = [python, "-P", _APP, "start", "--rest-host", self.host, "--grpc-host", self.host, "--ephemeral"]
        self._process = ServerProcess(
            "bqemulator",
            [*command, "--rest-port", str(self._emulator_port), "--grpc-port", str(grpc_port)],
            log=folder / "log",
            environment={
                "PATH": os.defpath,
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "OTEL_SDK_DISABLED": "true",
            },
            folder=folder,
        )
        self._process.wait_for_port(self._emulator_port)
        dataset = {"datasetReference": {"projectId": self.project, "datasetId": self.dataset}}
        self._forward("POST", f"/bigquery/v2/projects/{self.project}/datasets", json.dumps(dataset).encode())
        self._front = ThreadingHTTPServer((self.host, 0), _handler(self))
        self.port = self._front.server_port
        threading.Thread(target=self._front.serve_forever, name="BigQuery front", daemon=True).start()

    def stop(self) -> None:
        """Stop front and emulator and delete their data. Calling it again does nothing."""
        if self._front:
            self._front.shutdown()
            self._front.server_close()
            self._front = None
        super().stop()

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        """The status and JSON that this request gets."""
        self.requests.append((method, path))
        self.time_limits += map(int, re.findall(rb'"jobTimeoutMs": ?"?(\d+)', body))
        if path == "/token":
            refusal = self._token(body)
        else:
            refusal = self._refusal(method, path, self._tokens.get(authorization.removeprefix("Bearer ")))
        if refusal is None:
            return self._forward(method, path, self._information.rewritten(body))
        return refusal.status, json.dumps(refusal.body).encode()

    def _token(self, body: bytes) -> Answer:
        """Google's answer to an assertion (RFC 7523), as its page "OAuth 2.0 for server to server applications" has it."""
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if form.get("grant_type") != _GRANT:
            return Answer(400, {"error": "unsupported_grant_type"})
        header, payload, signature = form["assertion"].split(".")
        claims = json.loads(_unbase64(payload))
        account = self._accounts.get(claims["iss"])
        if account is None:
            return _invalid_grant("Invalid grant: account not found")
        try:
            account.key.public_key().verify(
                _unbase64(signature), f"{header}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return _invalid_grant("Invalid JWT Signature.")
        if not claims["aud"].endswith("/token") or claims["exp"] < time.time() or not claims.get("scope"):
            return _invalid_grant("Invalid JWT.")
        if account.disabled:
            return Answer(401, {"error": "disabled_client", "error_description": "The OAuth client was disabled."})
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self._tokens[token] = account
        return Answer(200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _refusal(self, method: str, path: str, account: ServiceAccount | None) -> Answer | None:
        if account is None:
            return _error(401, "authError", "UNAUTHENTICATED")
        project = re.match(r"/bigquery/v2/projects/([^/?]+)", path)
        if project is None or project[1] != self.project:
            return _error(404, "notFound", "NOT_FOUND")
        if re.search(r"/(jobs|queries)\b", path) and not account.runs_queries:
            return _error(403, "accessDenied", "PERMISSION_DENIED")
        if "/datasets/" in path and not account.reads_datasets:
            return _error(403, "accessDenied", "PERMISSION_DENIED")
        return None

    def _forward(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        emulator = http.client.HTTPConnection(self.host, self._emulator_port, timeout=60)
        try:
            emulator.request(method, path, body or None, {"Content-Type": "application/json"})
            answer = emulator.getresponse()
            return answer.status, answer.read()
        finally:
            emulator.close()


def _handler(server: BigQueryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Nothing: the requests are in `server.requests`."""

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = server.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    return Handler


def _error(status: int, reason: str, name: str) -> Answer:
    """An error as Google's APIs write it."""
    errors = [{"message": "refused by the test server", "domain": "global", "reason": reason}]
    return Answer(status, {"error": {"code": status, "message": "refused", "errors": errors, "status": name}})


def _invalid_grant(description: str) -> Answer:
    return Answer(400, {"error": "invalid_grant", "error_description": description})


@cache
def _key(name: str) -> rsa.RSAPrivateKey:
    del name  # one key per account: making them takes a while
    return rsa.generate_private_key(65537, 2048)


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
