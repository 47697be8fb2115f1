"""What `servers.oauth.provider` runs, in a process of its own: oidc-provider-mock, and what it lacks.

It does not check code challenges, so that is done in front of it (RFC 7636 §4.6), and leaves the state out where a person
refuses, so that is put in (RFC 6749 §4.1.2.1). `GET /seen` answers every code, code
verifier and token that went through. Takes the port to listen on.
"""

import base64
import hashlib
import io
import json
import sys
from urllib.parse import parse_qs, urlencode, urlsplit

from oidc_provider_mock import app
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app


class Front:
    """WSGI middleware."""

    def __init__(self, provider) -> None:
        self.provider = provider
        self.challenges: dict[str, str | None] = {}
        self.seen: list[str] = []

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/seen":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self.seen).encode()]
        if path == "/oauth2/token" and not self.proves(environ):
            start_response("400 Bad Request", [("Content-Type", "application/json")])
            return [b'{"error": "invalid_grant"}']
        answer, status, headers = run_wsgi_app(self.provider, environ)
        body = b"".join(answer)
        if path == "/oauth2/authorize":
            asked = parse_qs(environ["QUERY_STRING"])
            self.note_code(asked, headers.get("Location", ""))
            if "error=" in headers.get("Location", "") and "state=" not in headers["Location"]:
                headers["Location"] += "&" + urlencode({"state": asked["state"][0]})
        if path == "/oauth2/token" and status.startswith("200"):
            tokens = json.loads(body)
            self.seen += [tokens[name] for name in ("access_token", "refresh_token", "id_token") if name in tokens]
        start_response(status, list(headers.items()))
        return [body]

    def note_code(self, asked: dict[str, list[str]], location: str) -> None:
        for code in parse_qs(urlsplit(location).query).get("code", []):
            method = asked.get("code_challenge_method", ["plain"])[0]
            challenge = asked.get("code_challenge", [None])[0]
            self.challenges[code] = challenge if method == "S256" else None
            self.seen.append(code)

    def proves(self, environ) -> bool:
        """Whether a request for tokens brings the verifier of its code's challenge, where there was one."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        form = parse_qs(body.decode())
        verifier = form.get("code_verifier", [""])[0]
        self.seen += [verifier] if verifier else []
        challenge = self.challenges.get(form.get("code", [""])[0])
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        return challenge is None or challenge == digest


if __name__ == "__main__":
    make_server(
        "127.0.0.1", int(sys.argv[1]), Front(app(require_client_registration=True)), threaded=True
    ).serve_forever()
