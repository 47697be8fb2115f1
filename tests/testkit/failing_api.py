"""A service whose REST API answers everything with an error, once it is let to: what people see while they wait, and then."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REQUEST_ID = "0123456789abcdef0123456789abcdef"
"""The id that every answer carries."""
_PATIENCE = 30.0
"""Seconds that a request is held at most: a test that failed must not hold a browser."""


class FailingApi:
    """Every request gets 500.

    Attributes:
        url: its address.
        may_answer: requests wait while it is not set.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.may_answer = threading.Event()
        self.may_answer.set()


@contextmanager
def failing_api() -> Iterator[FailingApi]:
    """One that listens on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.may_answer.wait(_PATIENCE)
            body = json.dumps({"detail": "The service failed; its log has more."}).encode()
            self.send_response(500)
            for name, value in {"Content-Type": "application/json", "X-Request-Id": REQUEST_ID}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api = FailingApi(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield api
        finally:
            api.may_answer.set()
            server.shutdown()
