"""A real Redis 7.0 on loopback, from Debian's packages.

Engine: Redis itself as Debian builds it, with its own TLS. Not proven: other major versions, clusters, sentinels.
"""

import secrets
import shutil
from pathlib import Path

from connectory.testing.certificates import ServerCertificate
from connectory.testing.ports import IPV4_LOOPBACK, free_port
from connectory.testing.processes import ServerProcess
from testkit.debian import REDIS_PACKAGES, libraries_in, unpacked
from testkit.processes import LocalServer


class RedisServer(LocalServer):
    """One Redis server that takes plain connections on `port` and, with a `certificate`, TLS from the first byte on `tls_port`.

    The user `username` may run every command with `password`; the default user is off.
    """

    folder_name = "redis"
    username = "reader"

    def __init__(self, *, certificate: ServerCertificate | None = None) -> None:
        self.host = IPV4_LOOPBACK
        self.port = 0  # chosen by start()
        self.tls_port = 0
        self.password = secrets.token_urlsafe(16)
        self._certificate = certificate

    def _start(self, folder: Path) -> None:
        root = unpacked("redis", REDIS_PACKAGES)
        self.port = free_port()
        lines = [
            f"bind {self.host}",
            f"port {self.port}",
            f"dir {folder}",
            'save ""',
            "user default off",
            f"user {self.username} on >{self.password} ~* &* +@all",
            *self._tls_lines(folder),
        ]
        configuration = folder / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join(lines) + "\n")
        self._process = ServerProcess(
            "Redis",
            [root / "usr/bin/redis-server", configuration],
            log=folder / "log",
            environment={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libraries_in(root)},
            folder=folder,
        )
        for port in filter(None, (self.port, self.tls_port)):
            self._process.wait_for_port(port)

    def _tls_lines(self, folder: Path) -> list[str]:
        if self._certificate is None:
            return []
        self.tls_port = free_port()
        chain, key = folder / "server.pem", folder / "server.key"
        shutil.copy(self._certificate.chain_file, chain)
        shutil.copy(self._certificate.key_file, key)
        files = [f"tls-cert-file {chain}", f"tls-key-file {key}", f"tls-ca-cert-file {chain}"]
        return [f"tls-port {self.tls_port}", *files, "tls-auth-clients no"]
