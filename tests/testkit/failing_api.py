"""A service whose REST API answers everything with an error."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REQUEST_ID = "0123456789abcdef0123456789abcdef"
"""The id that every answer carries."""


@contextmanager
def failing_api() -> Iterator[str]:
    """The address of one that listens on loopback; every request gets 500."""
    body = json.dumps({"detail": "The service failed; its log has more."}).encode()
    headers = {"Content-Type": "application/json", "X-Request-Id": REQUEST_ID, "Content-Length": str(len(body))}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
