"""A provider that gives a new refresh token at every use, and takes one that comes twice for stolen (RFC 9700 §4.14.2).

Our own, because no server in the package index does both. It knows one consent, of one client, whose code is anything. A green
test shows that no refresh token came twice, and none was lost.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs

from connectory.testing.ports import IPV4_LOOPBACK


class RotatingProvider:
    """One provider on 127.0.0.1.

    Attributes:
        generation: how many refresh tokens it gave, the one for the code included.
        reused: refresh tokens that came again. From the first one on everything is revoked.
        answering: while this is not set, who asks for tokens gets no answer.
    """

    host = IPV4_LOOPBACK

    def __init__(self) -> None:
        self.generation = 0
        self.reused: list[str] = []
        self.answering = threading.Event()
        self.answering.set()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def __enter__(self) -> Self:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1  # an answer goes out in one piece

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                answer = provider.grant({name: values[0] for name, values in form.items()})
                provider.answering.wait(20)
                self.answer(200 if "access_token" in answer else 400, answer)

            def do_GET(self) -> None:
                good = self.headers["Authorization"] == f"Bearer access-{provider.generation}" and not provider.reused
                self.answer(200 if good else 401, {})

            def answer(self, status: int, content: dict[str, str]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answering.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def grant(self, form: dict[str, str]) -> dict[str, str]:
        """What a request for tokens is answered."""
        with self._lock:
            if form["grant_type"] == "refresh_token" and form["refresh_token"] != f"refresh-{self.generation}":
                self.reused.append(form["refresh_token"])
            if self.reused:
                return {"error": "invalid_grant"}
            self.generation += 1
            return {"access_token": f"access-{self.generation}", "refresh_token": f"refresh-{self.generation}"}
