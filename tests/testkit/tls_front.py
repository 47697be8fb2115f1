"""A front before a plain TCP server: the same bytes, on 127.0.0.1 and ::1, with or without TLS."""

from typing import Protocol

from connectory.testing.certificates import ServerCertificate
from testkit.loopback import LoopbackServer, Peer, connect_upstream


class Backend(Protocol):
    """Whatever has an address."""

    host: str
    port: int


class TlsFront(LoopbackServer):
    """Relays every connection to `backend`; with `certificate`, what comes in is TLS from its first byte (as in https)."""

    def __init__(self, backend: Backend, certificate: ServerCertificate | None = None) -> None:
        super().__init__(self._carry, name=f"front of {backend!r}")
        self._backend = backend
        self._tls = certificate.server_context() if certificate else None

    def _carry(self, peer: Peer) -> None:
        if self._tls is not None:
            peer.start_tls(self._tls)
        with connect_upstream(self._backend.host, self._backend.port) as upstream:
            peer.relay(upstream)
