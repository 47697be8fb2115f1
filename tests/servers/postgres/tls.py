"""TLS in front of a PostgreSQL that was built without OpenSSL.

Engine: PostgreSQL answers everything after the start-up packet; only the TLS handshake and the answer to
`SSLRequest` are ours. Not proven: PostgreSQL's own TLS settings, client certificates, channel binding
(SCRAM-SHA-256-PLUS is not offered), and `sslnegotiation=direct`.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from connectory.testing.certificates import ServerCertificate
from servers.postgres import wire
from servers.postgres.server import PostgresServer
from testkit.loopback import LoopbackServer, Peer, connect_upstream

TlsMode = Literal["offered", "required", "not offered"]


class PostgresTlsFront(LoopbackServer):
    """A front that speaks TLS to clients and plain PostgreSQL to `backend`.

    `mode` "offered" takes both kinds of connection, "required" turns plain ones away with SQLSTATE 28000 as a `hostssl`
    rule does, "not offered" answers `SSLRequest` with no. `rewrite` may change the start-up parameters on their way.
    `startups` lists every start-up packet seen, oldest first.
    """

    def __init__(
        self,
        backend: PostgresServer,
        certificate: ServerCertificate | None = None,
        *,
        mode: TlsMode = "offered",
        rewrite: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(self._serve_session, name=f"PostgreSQL, TLS {mode}")
        if mode != "not offered" and certificate is None:
            raise ValueError(f"TLS {mode} needs a certificate")
        self.startups: list[wire.Startup] = []
        self._backend = backend
        self._mode = mode
        self._rewrite = rewrite
        self._tls = certificate.server_context(alpn=("postgresql",)) if certificate and mode != "not offered" else None

    def _serve_session(self, peer: Peer) -> None:
        startup = wire.read_startup(peer, self._tls)
        code, body = startup.code, startup.body
        if code != wire.CANCEL_REQUEST:
            self.startups.append(startup)
            if self._mode == "required" and not startup.encrypted:
                peer.send(wire.error_response("28000", "no pg_hba.conf entry for this host, no encryption"))
                return
            if self._rewrite:
                code, body = wire.PROTOCOL_3_0, wire.startup_body(self._rewrite(startup.parameters))
        with connect_upstream(self._backend.host, self._backend.port) as upstream:
            upstream.sendall(wire.startup_packet(code, body))
            peer.relay(upstream)
