"""MySQL 8's way of logging in, in front of a real MariaDB.

Engine: the greeting (as MySQL 8.0.42) and `caching_sha2_password` are ours, written after MySQL's protocol
documentation (pages "HandshakeV10", "HandshakeResponse41" and "Caching_sha2_password information"): full
authentication through TLS or with the server's RSA key, and the fast path once the server has seen the user.
Everything after login is MariaDB's, to which the front logs in with `mysql_native_password` and the client's own
capability flags. A green test shows that a driver logs in as it would to MySQL 8. It does not show that a statement
works on MySQL: SQL, system tables and error texts are MariaDB's.
"""

import hashlib
import secrets
import struct
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from connectory.testing.certificates import ServerCertificate
from servers.mariadb.server import MariaDBServer
from servers.mysql import wire
from testkit.loopback import LoopbackServer, Peer, connect_upstream

VERSION = "8.0.42"

# Capability flags (MySQL documentation, "Capabilities Flags").
_LONG_PASSWORD = 0x00000001
_COMPRESS = 0x00000020

_REQUEST_PUBLIC_KEY = b"\x02"
_FAST_AUTH_SUCCESS = b"\x01\x03"
_PERFORM_FULL_AUTHENTICATION = b"\x01\x04"

_ACCESS_DENIED = (1045, "28000")
_SECURE_TRANSPORT_REQUIRED = (3159, "HY000")

LoginPath = Literal["no password", "fast", "full, TLS", "full, RSA"]


class Login(NamedTuple):
    """A login that succeeded: who, by which path of caching_sha2_password, and whether TLS was on."""

    user: str
    path: LoginPath
    encrypted: bool


class MySQL8Front(LoopbackServer):
    """A server that looks like MySQL 8 at login and is `backend` afterwards. Stop it before `backend`.

    With `certificate` it offers TLS; with `require_tls` it refuses plain connections with error 3159. `logins` lists
    successful logins, oldest first. `backend` must take plain connections.
    """

    superuser = MariaDBServer.superuser

    def __init__(
        self, backend: MariaDBServer, *, certificate: ServerCertificate | None = None, require_tls: bool = False
    ) -> None:
        super().__init__(self._serve_session, name="MySQL 8")
        if require_tls and certificate is None:
            raise ValueError("require_tls needs a certificate")
        self.password = backend.password
        self.logins: list[Login] = []
        self._backend = backend
        self._tls = certificate.server_context() if certificate else None
        self._require_tls = require_tls
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._passwords = {backend.superuser: backend.password}
        self._known: set[str] = set()

    def create_database(self, name: str) -> None:
        """Create an empty database."""
        self._backend.create_database(name)

    def create_user(self, name: str, password: str, *, database: str | None = None, privileges: str = "ALL") -> None:
        """Create a user; with `database` it gets `privileges` there. An empty password is none."""
        self._backend.create_user(name, password, database=database, privileges=privileges)
        self._passwords[name] = password

    def execute(self, statement: str, *arguments: object, database: str | None = None) -> list[tuple]:
        """Run one statement on the backend as the superuser and return its rows."""
        return self._backend.execute(statement, *arguments, database=database)

    def _serve_session(self, peer: Peer) -> None:
        with connect_upstream(self._backend.host, self._backend.port) as upstream:
            server = wire.Packets(Peer(upstream, lambda _: None, peer.stopping))
            greeting = _Greeting.parse(server.read())
            client = wire.Packets(peer)
            nonce = bytes(secrets.choice(range(1, 128)) for _ in range(20))  # NUL ends it on the wire
            client.write(self._our_greeting(greeting, nonce))
            response = self._read_response(client)
            if response is None:
                return
            path = self._authenticate(client, response, nonce)
            if path is None:
                client.write(_access_denied(response))
                return
            self.logins.append(Login(response.user, path, peer.encrypted))
            server.write(response.for_backend(self._passwords[response.user], greeting.salt))
            client.write(server.read())  # OK, or the backend's own error: unknown database, no privilege on it
            peer.relay(upstream)

    def _our_greeting(self, backend: "_Greeting", nonce: bytes) -> bytes:
        capabilities = (backend.capabilities & ~(wire.SSL | _COMPRESS)) | _LONG_PASSWORD | wire.PLUGIN_AUTH
        if self._tls:
            capabilities |= wire.SSL
        return wire.greeting(
            VERSION, capabilities, nonce, "caching_sha2_password", thread_id=backend.thread_id, status=backend.status
        )

    def _read_response(self, client: wire.Packets) -> "_Response | None":
        """The client's answer to the greeting, after TLS where it asked for it; None where TLS was required and not asked."""
        packet = client.read()
        asks_for_tls = struct.unpack_from("<I", packet)[0] & wire.SSL
        if asks_for_tls and self._tls:
            client.peer.start_tls(self._tls)
            packet = client.read()
        elif self._require_tls:
            text = "Connections using insecure transport are prohibited while --require_secure_transport=ON."
            client.write(wire.error(*_SECURE_TRANSPORT_REQUIRED, text))
            return None
        return _Response.parse(packet)

    def _authenticate(self, client: wire.Packets, response: "_Response", nonce: bytes) -> LoginPath | None:
        """By which path the client proved that it knows the password; None where it did not."""
        password = self._passwords.get(response.user)
        proof = response.proof
        if response.plugin != b"caching_sha2_password":
            client.write(b"\xfecaching_sha2_password\0" + nonce + b"\0")  # AuthSwitchRequest
            proof = client.read()
        if not proof.rstrip(b"\0"):
            return "no password" if password == "" else None
        if response.user in self._known:
            if password is None or proof != _sha2_proof(password, nonce):
                return None
            client.write(_FAST_AUTH_SUCCESS)
            return "fast"
        client.write(_PERFORM_FULL_AUTHENTICATION)
        received = client.read()
        if client.peer.encrypted:
            path: LoginPath = "full, TLS"
        else:
            path = "full, RSA"
            received = self._decrypt(client, received, nonce)
        if password is None or received != password.encode() + b"\0":
            return None
        self._known.add(response.user)
        return path

    def _decrypt(self, client: wire.Packets, received: bytes, nonce: bytes) -> bytes:
        """The password that the client encrypted with our RSA key, which it may ask for first."""
        if received == _REQUEST_PUBLIC_KEY:
            pem = self._key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            client.write(b"\x01" + pem)
            received = client.read()
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), label=None)
        try:
            masked = self._key.decrypt(received, oaep)
        except ValueError:
            return b""
        repeated = nonce * (len(masked) // len(nonce) + 1)
        return _xor(masked, repeated)


@dataclass(frozen=True)
class _Greeting:
    """What the backend says first (HandshakeV10)."""

    thread_id: bytes
    salt: bytes
    capabilities: int
    status: bytes

    @classmethod
    def parse(cls, packet: bytes) -> "_Greeting":
        _, at = _text(packet, 1)
        thread_id, first_salt = packet[at : at + 4], packet[at + 4 : at + 12]
        low, _charset, status, high, salt_length = struct.unpack_from("<HB2sHB", packet, at + 13)
        rest = packet[at + 31 : at + 31 + max(13, salt_length - 8)]
        return cls(thread_id, first_salt + rest[:12], low | high << 16, status)


@dataclass(frozen=True)
class _Response:
    """What the client answers to the greeting (HandshakeResponse41)."""

    flags: int
    fixed: bytes  # longest packet, character set, filler: passed on as they are
    user: str
    proof: bytes
    database: bytes | None
    plugin: bytes
    attributes: bytes

    @classmethod
    def parse(cls, packet: bytes) -> "_Response":
        flags = struct.unpack_from("<I", packet)[0]
        user, at = _text(packet, 32)
        proof = packet[at + 1 : at + 1 + packet[at]]
        at += 1 + packet[at]
        database, plugin = None, b""
        if flags & wire.CONNECT_WITH_DB:
            database, at = _text(packet, at)
        if flags & wire.PLUGIN_AUTH:
            plugin, at = _text(packet, at)
        attributes = packet[at:] if flags & wire.CONNECT_ATTRIBUTES else b""
        return cls(flags, packet[4:32], user.decode(), proof, database, plugin, attributes)

    def for_backend(self, password: str, salt: bytes) -> bytes:
        """The same answer with a proof that MariaDB's mysql_native_password takes."""
        proof = _native_proof(password, salt) if password else b""
        packet = struct.pack("<I", self.flags & ~wire.SSL) + self.fixed + self.user.encode() + b"\0"
        packet += bytes([len(proof)]) + proof
        if self.database is not None:
            packet += self.database + b"\0"
        if self.flags & wire.PLUGIN_AUTH:
            packet += b"mysql_native_password\0"
        return packet + self.attributes


def _text(packet: bytes, start: int) -> tuple[bytes, int]:
    """The NUL-ended text at `start`, and where the next field begins."""
    end = packet.index(b"\0", start)
    return packet[start:end], end + 1


def _access_denied(response: _Response) -> bytes:
    used = "YES" if response.proof else "NO"
    return wire.error(*_ACCESS_DENIED, f"Access denied for user '{response.user}'@'localhost' (using password: {used})")


def _sha2_proof(password: str, nonce: bytes) -> bytes:
    once = hashlib.sha256(password.encode()).digest()
    twice = hashlib.sha256(once).digest()
    return _xor(once, hashlib.sha256(twice + nonce).digest())


def _native_proof(password: str, salt: bytes) -> bytes:
    once = hashlib.sha1(password.encode()).digest()
    twice = hashlib.sha1(once).digest()
    return _xor(once, hashlib.sha1(salt + twice).digest())


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=False))
